"""Client data: who the clients are, and each one's data, read when its turn comes.

A client is told by its id, a string; its place in a list plays no part in what it computes. Lists of data get the ids
"0", "1", …. Cohorts are put in the order of their ids: whole numbers by value, before all other ids, which are
ordered as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar, runtime_checkable

from fedlang.run.errors import duplicate_client, unknown_client

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class ClientData(Protocol[T_co]):
    """Clients and their data. `client` may be called from any thread, and again for the same client."""

    @property
    def client_ids(self) -> Sequence[str]:
        """All clients, in the order in which results are given back."""
        ...

    def client(self, client_id: str) -> T_co:
        """One client's data."""
        ...


@dataclass(frozen=True, slots=True)
class ReadClients(ClientData[T_co]):
    """Clients whose data a function reads."""

    ids: tuple[str, ...]
    read: Callable[[str], T_co]

    @property
    def client_ids(self) -> Sequence[str]:
        """The ids as given."""
        return self.ids

    def client(self, client_id: str) -> T_co:
        """What the function reads."""
        return self.read(client_id)


def clients_of(data: ClientData[T] | Mapping[str, T] | Sequence[T]) -> ClientData[T]:
    """Client data of what people have: a mapping from ids, or a list of the clients' data."""
    if isinstance(data, Mapping):
        known = {str(name): value for name, value in data.items()}
        return ReadClients(tuple(known), lambda client_id: _of(known, client_id))
    if isinstance(data, ClientData):
        return data
    rows = {str(place): value for place, value in enumerate(data)}
    return ReadClients(tuple(rows), lambda client_id: _of(rows, client_id))


def _of(known: Mapping[str, T], client_id: str) -> T:
    if client_id not in known:
        raise unknown_client(client_id, tuple(known))
    return known[client_id]


def chosen(data: ClientData[T], ids: Sequence[str]) -> ClientData[T]:
    """Some of the clients, such as a round's cohort. `DiagnosticError` FED0618 for an id that is not there."""
    present = set(data.client_ids)
    for client_id in ids:
        if client_id not in present:
            raise unknown_client(client_id, tuple(data.client_ids))
    return ReadClients(tuple(ids), data.client)


def client_order(client_id: str) -> tuple[int, int, str]:
    """What client ids are sorted by."""
    return (0, int(client_id), client_id) if client_id.isdecimal() else (1, 0, client_id)


def in_order(ids: Sequence[str]) -> tuple[str, ...]:
    """The ids in their canonical order. `DiagnosticError` FED0620 where one comes twice."""
    ordered = tuple(sorted(ids, key=client_order))
    for one, next_one in pairwise(ordered):
        if one == next_one:
            raise duplicate_client(one)
    return ordered
