"""Clients read before they are asked for, by a thread, while something else computes.

A run asks for its clients in the order of their ids (`in_order`), and so does the thread. What it has read waits in
memory, up to a limit of bytes; a client that is asked for before its turn is read by who asks. A client that cannot be
read fails where it is asked for, as without the thread. Reading ahead changes nothing but the time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from fedlang.data.trees import Sequences, named_leaves
from fedlang.run.clients import in_order
from fedlang.run.sequences import Elements, Rows

LIMIT = 256 << 20  # bytes that may wait
Reader = Callable[[str], Sequences]


class ReadAhead:
    """A reader of clients that begins to read them now, each once. Its thread ends when it is let go of."""

    def __init__(self, reader: Reader, client_ids: Sequence[str], limit: int = LIMIT) -> None:
        self._reader = reader
        self._shelf = _Shelf(limit)
        weakref.finalize(self, self._shelf.close)
        work = (self._shelf, reader, in_order(client_ids))
        threading.Thread(target=_read_all, args=work, name="fedlang-ahead", daemon=True).start()

    def __call__(self, client: str) -> Sequences:
        """What was read; read here, where its turn had not come or it was handed out before."""
        reading = self._shelf.claim(client)
        return self._reader(client) if reading is None else self._shelf.take(reading)


@dataclass(slots=True, eq=False)
class _Shelf:
    """What is read and not handed out. `begun` has every client whose turn has come, by whoever it is read."""

    limit: int
    held: int = 0
    begun: set[str] = field(default_factory=set)
    waiting: dict[str, Future[Sequences]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False

    def begin(self, client: str) -> Future[Sequences] | None:
        """Where the thread puts a client, once there is room; None where it is read elsewhere, or nobody wants it."""
        with self.changed:
            self.changed.wait_for(lambda: self.held < self.limit or self.closed)
            if self.closed or client in self.begun:
                return None
            self.begun.add(client)
            self.waiting[client] = Future()
            return self.waiting[client]

    def claim(self, client: str) -> Future[Sequences] | None:
        """What the thread reads or has read for whoever asks; None where they read it themselves."""
        with self.changed:
            self.begun.add(client)
            return self.waiting.pop(client, None)

    def put(self, place: Future[Sequences], found: Sequences) -> None:
        """The thread has read a client."""
        with self.changed:
            self.held += _bytes(found)
        place.set_result(found)

    def take(self, reading: Future[Sequences]) -> Sequences:
        """Waits for it; makes room for more."""
        found = reading.result()
        with self.changed:
            self.held -= _bytes(found)
            self.changed.notify_all()
        return found

    def close(self) -> None:
        """Nobody will ask any more."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def _read_all(shelf: _Shelf, reader: Reader, ids: Sequence[str]) -> None:
    for client in ids:
        place = shelf.begin(client)
        if shelf.closed:
            return
        if place is None:
            continue
        try:
            shelf.put(place, reader(client))
        except BaseException as error:
            place.set_exception(error)


def _bytes(sequences: Sequences) -> int:
    """What the rows take that lie in memory of their own."""
    total = 0
    for _, leaf in named_leaves(sequences):
        match leaf:
            case Rows(rows, _, order):
                total += rows.nbytes + (0 if order is None else order.nbytes)
            case Elements(items):
                total += sum(item.nbytes for item in items)
    return total
