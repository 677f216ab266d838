"""Chunks of clients with sequences about as long: every client once, little padded, the same bits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedlang.executors.tensorflow.work import STEP, USEFUL, Readable, alike
from fedlang.run.executor import ClientTask
from fedlang.run.sequences import Rows


def window(lengths: list[int]) -> Readable:
    tasks = tuple(ClientTask(k, str(k), lambda: ()) for k in range(len(lengths)))
    values = tuple((np.float32(0), Rows(np.zeros((n, 1), np.float32))) for n in lengths)
    return Readable.of(tasks, values)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 9))
def test_every_client_is_in_one_chunk_and_lengths_do_not_overlap(lengths: list[int], size: int) -> None:
    chunks = list(alike(window(lengths), size))
    positions = [task.position for chunk in chunks for task in chunk.tasks]
    assert sorted(positions) == list(range(len(lengths)))
    assert all(len(chunk.tasks) <= size for chunk in chunks)
    for chunk in chunks:
        assert [task.position for task in chunk.tasks] == sorted(task.position for task in chunk.tasks)
    spans = [(min(at), max(at)) for at in ([lengths[t.position] for t in chunk.tasks] for chunk in chunks) if at]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_chunk_larger_than_a_step_is_mostly_used() -> None:
    examples = np.random.default_rng(0).lognormal(np.log(60), 1.5, 1000)
    lengths = np.ceil(examples / 20).astype(int).tolist()
    chunks = [[lengths[t.position] for t in chunk.tasks] for chunk in alike(window(lengths), 80)]
    assert len(chunks) < 40
    for chunk in chunks:
        assert len(chunk) <= STEP or sum(chunk) >= USEFUL * max(chunk) * len(chunk)
