"""How many clients are alive at once: a bounded number, however many the cohort has and however slow the driver is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any
from weakref import ref

import numpy as np
import pytest

from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.strategy import AHEAD
from fedlang.executors.tensorflow.pool import in_order
from fedlang.executors.threaded import ThreadedExecutor
from fedlang.run.executor import ClientTask
from tests.executors.training import data_of, tasks_of, training_graph, weights_of

SIZES = [int(n) for n in np.random.default_rng(5).integers(0, 30, 120)]
CHUNK = 4
# Each executor with how many chunks it may have read and not yet handed over, the one just asked for among them.
EXECUTORS: dict[str, tuple[Any, int]] = {
    "threaded": (ThreadedExecutor(threads=2, chunk=CHUNK), 2 * 2 + 1),
    "sequential": (BatchedExecutor(strategy="sequential", chunk=CHUNK, threads=2), AHEAD + 1),
    "one thread": (ThreadedExecutor(threads=1, chunk=CHUNK), 1),
}


def counted(read: list[int]) -> list[ClientTask]:
    """Clients that say when they are read."""

    def saying(task: ClientTask) -> ClientTask:
        def tell() -> Any:
            read[0] += 1
            return task.read()

        return replace(task, read=tell)

    return [saying(task) for task in tasks_of(data_of(SIZES, 8, 3))]


@pytest.mark.parametrize("name", EXECUTORS)
def test_clients_are_read_as_chunks_are_taken(name: str) -> None:
    executor, chunks = EXECUTORS[name]
    work = executor.compile_work(training_graph((8, 3), 4), (False, False, True, True))
    read, taken, most = [0], 0, 0
    for chunk in work.run(weights_of((8, 3)), counted(read)):
        time.sleep(0.002)  # a slow driver: those that could run ahead would
        most = max(most, read[0] - taken)
        taken += len(chunk.ids)
    assert taken == read[0] == len(SIZES)
    assert most <= chunks * CHUNK


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_and_their_order_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    def run(executor: ThreadedExecutor) -> tuple[list[str], list[Any]]:
        work = executor.compile_work(training_graph((8, 3), 4), (False, False, True, True))
        chunks = list(work.run(weights_of((8, 3)), tasks_of(data_of(SIZES, 8, 3))))
        joined = [np.concatenate(parts) for parts in zip(*(chunk.results for chunk in chunks), strict=True)]
        return [id for chunk in chunks for id in chunk.ids], joined

    ids, expected = run(ThreadedExecutor(threads=1, chunk=1000))
    again, found = run(ThreadedExecutor(threads=threads, chunk=7))
    assert ids == again
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_runs_is_waited_for_and_what_does_not_is_not_begun_when_one_fails() -> None:
    begun, ended = [], []

    def job(k: int) -> int:
        begun.append(k)
        time.sleep(0.02)
        ended.append(k)
        if k == 1:
            raise ValueError("of job 1")
        return k

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(ValueError, match="of job 1"):
            list(in_order(pool, (partial(job, k) for k in range(50)), 4))
        assert sorted(begun) == sorted(ended)
        assert len(begun) < 8


@pytest.mark.parametrize("broken", [2, 3, 5, 7, 12])
@pytest.mark.parametrize("fails", [False, True])
def test_an_error_in_making_a_job_is_raised_in_its_place(broken: int, *, fails: bool) -> None:
    """After all results before it, or an error there."""

    def job(k: int) -> int:
        if k == 0:
            time.sleep(0.02)
            if fails:
                raise KeyError("of job 0")
        return k

    def jobs() -> Iterator[Callable[[], int]]:
        for k in range(20):
            if k == broken:
                raise ValueError(f"in making job {k}")
            yield partial(job, k)

    with ThreadPoolExecutor(1) as pool:
        found = in_order(pool, jobs(), 3, 8)
        if not fails:
            assert list(islice(found, broken)) == list(range(broken))
        with pytest.raises(KeyError if fails else ValueError, match="of job 0" if fails else f"making job {broken}"):
            next(found)
        assert list(in_order(pool, (partial(int, k) for k in range(9)), 3, 8)) == list(range(9)), "it goes on working"


@pytest.mark.parametrize("ahead", [2, 8])
def test_results_no_longer_wanted_are_waited_for(ahead: int) -> None:
    begun, ended = [], []

    def job(k: int) -> int:
        begun.append(k)
        time.sleep(0.002)
        ended.append(k)
        return k

    with ThreadPoolExecutor(2) as pool:
        found = in_order(pool, (partial(job, k) for k in range(50)), 4, ahead)
        assert next(found) == 0
        found.close()  # type: ignore[attr-defined]
        assert sorted(begun) == sorted(ended)
        assert len(begun) < 20


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_on_the_thread_that_asks_is_raised_at_once(*, fails: bool) -> None:
    begun, asks, interrupted = list[int](), threading.get_ident(), threading.Event()

    def job(k: int) -> int:
        begun.append(k)
        if threading.get_ident() == asks:
            interrupted.set()
            raise KeyboardInterrupt
        assert interrupted.wait(5)
        if fails:
            raise ValueError("which is not said instead")
        return k

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            list(in_order(pool, (partial(job, k) for k in range(50)), 4))
        assert len(begun) <= 2
        assert list(in_order(pool, (partial(int, k) for k in range(9)), 4)) == list(range(9)), "it goes on working"


def test_what_jobs_were_made_of_is_let_go_of_when_they_have_run() -> None:
    class Data:
        """What a job is made of."""

    alive: list[ref[Data]] = []

    def jobs() -> Iterator[Callable[[], None]]:
        for _ in range(9):
            data = Data()
            alive.append(ref(data))
            yield partial(lambda _: None, data)
            del data

    with ThreadPoolExecutor(1) as pool:
        for number, _ in enumerate(in_order(pool, jobs(), 2)):
            gone = [each() is None for each in alive]
            assert sum(not each for each in gone) <= 3, number


@pytest.mark.parametrize("ahead", [5, 9])
def test_others_go_on_while_the_first_takes_long(ahead: int) -> None:
    """Until so many wait to be taken; and no more than three are begun and not done."""
    lock, open_, done = threading.Lock(), 0, threading.Semaphore(0)
    begun = []

    def job(k: int) -> int:
        nonlocal open_
        with lock:
            open_ -= 1
        if k == 0:
            assert all(done.acquire(timeout=5) for _ in range(ahead - 1)), "the others wait for the first"
            time.sleep(0.02)  # long enough to begin more
            assert len(begun) == ahead
        else:
            done.release()
        return k

    def jobs() -> Iterator[Callable[[], int]]:
        nonlocal open_
        for k in range(20):
            with lock:
                open_ += 1
                assert open_ <= 3
            begun.append(k)
            yield partial(job, k)

    with ThreadPoolExecutor(1) as pool:
        assert list(in_order(pool, jobs(), 3, ahead)) == list(range(20))


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_the_thread_that_asks_runs_what_nobody_has_begun(count: int) -> None:
    alone, here = threading.Event(), threading.get_ident()

    def job() -> int:
        if threading.get_ident() == here:
            alone.set()
        else:
            assert alone.wait(5), "whoever asks sleeps"
        return threading.get_ident()

    with ThreadPoolExecutor(1) as pool:
        found = list(in_order(pool, iter([job] * count), 4))
    assert len(found) == count
    assert count == 0 or here in found
    assert list(in_order(None, iter([job] * count), 4)) == [here] * count


def test_threads_stay_from_run_to_run() -> None:
    executor = ThreadedExecutor(threads=3, chunk=CHUNK)
    work = executor.compile_work(training_graph((8, 3), 4), (False, False, True, True))
    for _ in range(2):
        list(work.run(weights_of((8, 3)), tasks_of(data_of(SIZES, 8, 3))))
    names = {thread.name for thread in work.work.pool._threads}  # type: ignore[attr-defined]
    assert len(names) == 2, "and the one that asks"
    assert names == {"fedlang-clients_0", "fedlang-clients_1"}
