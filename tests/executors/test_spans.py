"""Rows given out in spans: never to two at once, those that are free before new ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedlang.executors.tensorflow.spans import FIRST, Spans


def test_spans_follow_each_other_and_gaps_come_first() -> None:
    spans = Spans()
    assert [spans.take(4) for _ in range(4)] == [1, 5, 9, 13]
    assert spans.size == 2 * FIRST
    spans.keep([(5, 4), (13, 4)])
    assert [spans.take(count) for count in (2, 3, 2, 3)] == [1, 9, 17, 19]


def test_a_look_is_asked_for_only_when_it_is_worth_it() -> None:
    spans = Spans()
    start = spans.take(10)
    assert spans.should_look(1)
    spans.keep([(start, 10)])
    assert not spans.should_look(1), "nothing was taken since"
    spans.take(8)
    assert not spans.should_look(1), "less than half was"


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=200))
def test_nobody_gets_rows_that_are_in_use(steps: list[tuple[int, int]]) -> None:
    """Each step lets go of all but the last few spans, then takes one."""
    spans, used = Spans(), list[tuple[int, int]]()
    for count, held in steps:
        used = used[max(0, len(used) - held) :]
        if spans.should_look(count):
            spans.keep(used)
        used.append((spans.take(count), count))
        rows = [row for start, size in used for row in range(start, start + size)]
        assert len(set(rows)) == len(rows)
        assert not rows or (min(rows) >= 1 and max(rows) < spans.size)


@given(st.integers(1, 50), st.integers(1, 20))
def test_what_is_taken_again_and_again_needs_no_more_room(count: int, held: int) -> None:
    spans, used = Spans(), list[tuple[int, int]]()
    for _ in range(200):
        used = used[-held:]
        if spans.should_look(count):
            spans.keep(used)
        used.append((spans.take(count), count))
    assert spans.size <= max(FIRST, 4 * (held + 1) * count)
