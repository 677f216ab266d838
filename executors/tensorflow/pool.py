"""Threads that stay: starting two for every run would take as long as a small round's arithmetic.

A pool belongs to one compiled work, so that work that runs other work waits for no thread of its own. Its threads end
when the work is let go of, or with Python.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")


def new_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads begin when they are first needed."""
    return ThreadPoolExecutor(threads, f"fedlang-{name}")


def looked_ahead(items: Iterator[T], count: int) -> tuple[bool, Iterator[T]]:
    """Whether there are `count` items at least; and all items."""
    first = list(islice(items, count))
    return len(first) == count, chain(first, items)


def in_order(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], T]], most: int) -> Iterator[T]:
    """The jobs' results in order, never more than `most` begun and not taken.

    A job that is the only one runs in the thread that asks: with another, a small round's data would move from one
    core to the other and back. At an error, or when the results are no longer wanted, what is not begun is cancelled
    and what runs is waited for.
    """
    first = list(islice(jobs, 2))
    if len(first) == 1:
        yield first[0]()
        return
    futures = (pool.submit(job) for job in chain(first, jobs))
    waiting = deque(islice(futures, most))
    try:
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(futures, 1))
    finally:
        for each in waiting:
            each.cancel()
        wait(waiting)
