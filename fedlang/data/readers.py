"""Client ids and the function that reads one client: what all client data is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Self, TypeVar

from fedlang.run.errors import duplicate_client, unknown_client

T = TypeVar("T")


@dataclass(frozen=True)
class Clients(Generic[T]):
    """Client ids and the function that reads one client. `DiagnosticError` FED0620 if an id is there twice."""

    client_ids: tuple[str, ...]
    reader: Callable[[str], T]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for client in self.client_ids:
            if client in seen:
                raise duplicate_client(client)
            seen.add(client)

    def __len__(self) -> int:
        return len(self.client_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.client_ids)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.client_ids)

    def _verify_known(self, client_id: str) -> None:
        if client_id not in self._known:
            raise unknown_client(client_id, self.client_ids)

    def _read(self, client_id: str) -> T:
        self._verify_known(client_id)
        return self.reader(client_id)

    def subset(self, client_ids: Iterable[str]) -> Self:
        """These clients only, in this order. `DiagnosticError` FED0618 for one that is not there."""
        chosen = tuple(client_ids)
        for client in chosen:
            self._verify_known(client)
        return type(self)(chosen, self.reader)

    def first(self, count: int) -> Self:
        """The first clients, at most `count`."""
        return type(self)(self.client_ids[:count], self.reader)
