"""Clients read before they are asked for: the same data, in bounded memory, and no thread that stays."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from fedlang.data import ClientData
from fedlang.data.ahead import ReadAhead
from fedlang.data.trees import Sequences
from fedlang.run.sequences import Rows

IDS = tuple(str(k) for k in range(20))


def sequence(client: str) -> Sequences:
    return Rows(np.full(256, int(client), np.float32))  # 1 KB


def until(condition: Callable[[], bool]) -> None:
    """Waits, with a bound that no test should come near."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never came")


class Watched:
    """A reader that counts, and fails for one client."""

    def __init__(self, bad: str = "") -> None:
        self.read: list[tuple[str, str]] = []
        self.bad = bad

    def __call__(self, client: str) -> Sequences:
        self.read.append((client, threading.current_thread().name))
        if client == self.bad:
            raise OSError(f"{client} is gone")
        return sequence(client)


def value(found: Sequences) -> float:
    assert isinstance(found, Rows)
    return float(found[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [IDS, IDS[::-1], IDS[5:] + IDS[:5]])
def test_everyone_gets_their_own_data_in_any_order(order: tuple[str, ...]) -> None:
    reader = Watched()
    ahead = ReadAhead(reader, IDS, limit=3000)
    assert [value(ahead(client)) for client in order] == [float(client) for client in order]
    assert sorted(client for client, _ in reader.read) == sorted(IDS), "each is read once"
    assert value(ahead("7")) == 7.0, "and again when it is asked for again"


def test_no_more_is_read_than_the_limit_allows() -> None:
    reader = Watched()
    ahead = ReadAhead(reader, IDS, limit=3000)
    until(lambda: len(reader.read) == 3)
    time.sleep(0.02)
    assert [client for client, _ in reader.read] == ["0", "1", "2"]
    assert value(ahead("0")) == 0.0
    until(lambda: len(reader.read) == 4)


def test_a_client_that_cannot_be_read_fails_where_it_is_asked_for() -> None:
    ahead = ReadAhead(Watched(bad="3"), IDS)
    for client in IDS:
        if client == "3":
            with pytest.raises(OSError, match="3 is gone"):
                ahead(client)
        else:
            assert value(ahead(client)) == float(client)


@pytest.mark.parametrize("limit", [3000, 1 << 20])
def test_the_thread_ends_when_nobody_can_ask(limit: int) -> None:
    before = {thread.name for thread in threading.enumerate()}
    ahead = ReadAhead(Watched(), IDS, limit=limit)
    assert value(ahead("0")) == 0.0
    del ahead
    gc.collect()
    until(lambda: {thread.name for thread in threading.enumerate()} <= before)


def test_batches_read_ahead_are_the_batches() -> None:
    data = ClientData.from_function(IDS, lambda client: {"x": np.arange(int(client), dtype=np.float32)})
    plain = data.batches(3, epochs=2, shuffle_seed=1)
    ahead = plain.ahead()
    assert ahead.client_ids == plain.client_ids
    for client in IDS:
        for one, other in zip(plain.client(client)["x"], ahead.client(client)["x"], strict=True):  # type: ignore[index,arg-type,call-overload]
            np.testing.assert_array_equal(one, other)
