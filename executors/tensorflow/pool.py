"""Threads that stay: starting two for every run would take as long as a small round's arithmetic.

The thread that asks for results is one of them. While it waits for one it runs a job itself, the one that it made last:
what it has just packed lies near its processor, and so will the results when it adds them up. A thread that slept
instead would wake up with nothing near, and the job's data would move to another core and back.

A pool belongs to one compiled work, so that work that runs other work waits for no thread of its own. Its threads end
when the work is let go of, or with Python.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, islice
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


def new_pool(threads: int, name: str) -> ThreadPoolExecutor | None:
    """The threads beside the one that asks, which begin when they are first needed; None where it is the only one."""
    return ThreadPoolExecutor(threads - 1, f"fedlang-{name}") if threads > 1 else None


def looked_ahead(items: Iterator[T], count: int) -> tuple[bool, Iterator[T]]:
    """Whether there are `count` items at least; and all items."""
    first = list(islice(items, count))
    return len(first) == count, chain(first, items)


class _Job(Generic[T]):
    """Something to run, by whoever claims it first; what it was made of is let go of once it has run.

    `future` has the result. `turn` is the pool's turn at it, which ends soon where somebody else has claimed it.
    """

    def __init__(self, run: Callable[[], T] | None) -> None:
        self.run = run
        self.future: Future[T] = Future()
        self.turn: Future[None]
        self._claimed = Lock()

    def claim(self) -> bool:
        """Whether nobody else has claimed it."""
        return self._claimed.acquire(blocking=False)

    def work(self) -> None:
        """Runs it, unless somebody else does. Whatever is raised is for those who take the result."""
        if self.claim():
            try:
                self.finish()
            except BaseException as error:
                self.future.set_exception(error)

    def finish(self) -> None:
        """Runs it, once it is claimed. An interrupt, which is no error of the job's, is raised at once."""
        assert self.run is not None, "a job is claimed once"
        try:
            self.future.set_result(self.run())
        except Exception as error:
            self.future.set_exception(error)
        finally:
            self.run = None


def in_order(
    pool: ThreadPoolExecutor | None, jobs: Iterator[Callable[[], T]], most: int, ahead: int | None = None
) -> Iterator[T]:
    """The jobs' results in order, never more than `most` begun and not done, nor more than `ahead`, which is as many if
    it is left out, begun and not taken.

    At an error, an interrupt, or when the results are no longer wanted, what is not begun is left, and what runs on
    other threads is waited for. An error in making a job is raised in that job's place.
    """
    if pool is None:
        yield from (job() for job in jobs)
        return
    first = list(islice(jobs, 2))
    if len(first) == 1:
        yield first[0]()
        return
    made = _made(pool, chain(first, jobs))
    del first  # what they were made of is let go of as that of others is
    waiting: deque[_Job[T]] = deque()
    try:
        while _begun(waiting, made, most, most if ahead is None else ahead):
            if waiting[0].future.done() or not _help(waiting):
                result = waiting[0].future.result()
                waiting.popleft()
                yield result
    finally:
        wait([job.turn for job in waiting if not job.turn.cancel()])


def _begun(waiting: deque[_Job[T]], made: Iterator[_Job[T]], most: int, ahead: int) -> bool:
    """Begins what there is room for; whether anything is waited for."""
    room = min(most - sum(not job.future.done() for job in waiting), ahead - len(waiting))
    waiting.extend(islice(made, max(room, 0)))
    return len(waiting) > 0


def _made(pool: ThreadPoolExecutor, runs: Iterator[Callable[[], T]]) -> Iterator[_Job[T]]:
    """The jobs, handed to the pool; the last one has failed where another could not be made."""
    try:
        for run in runs:
            yield _handed_to(pool, run)
    except Exception as error:
        yield _failed(error)


def _handed_to(pool: ThreadPoolExecutor, run: Callable[[], T]) -> _Job[T]:
    job = _Job(run)
    job.turn = pool.submit(job.work)
    return job


def _failed(error: Exception) -> _Job[T]:
    job = _Job[T](None)
    job.claim()
    job.turn = Future()
    job.future.set_exception(error)
    return job


def _help(waiting: deque[_Job[T]]) -> bool:
    """Runs the last job that nobody has begun; false where there is none."""
    own = next((job for job in reversed(waiting) if job.claim()), None)
    if own is not None:
        own.finish()
    return own is not None
