"""Client data: client ids, and for each what the client holds, read when it is asked for.

`ClientData` holds examples: arrays whose first axis counts them, in a record or tuple (`trees.Examples`).
`ClientSequences` holds what a program of parameter type `<T*>@CLIENTS` takes: the same tree with a sequence (`Rows` or
`Elements`) for each leaf. Both are what `fedlang.run.clients.ClientData` asks for. Neither keeps what it has read,
unless it is in memory anyway, so data of any number of clients passes through the memory of a few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar
from weakref import ref

import numpy as np

from fedlang.data.ahead import ReadAhead
from fedlang.data.batches import cut_batches
from fedlang.data.convert import batches_of, examples_of, is_dataset, is_stacked
from fedlang.data.datasets import ClientDatasets, DatasetClients, dataset_of
from fedlang.data.errors import no_clients, other_fields, unreadable_clients, wrong_count
from fedlang.data.readers import Clients
from fedlang.data.trees import (
    Examples,
    Sequences,
    count_examples,
    join_trees,
    map_leaves,
    marks_of,
    named_leaves,
    structure_of,
)
from fedlang.run.sequences import Array, Elements, LeafValue, Rows, fix, is_fixed

T = TypeVar("T")


@dataclass(frozen=True)
class ClientSequences(Clients[Sequences]):
    """For each client a sequence: one `Rows` or `Elements` a leaf."""

    def sequence(self, client_id: str) -> Sequences:
        """The client's sequence, read now."""
        return self._read(client_id)

    def client(self, client_id: str) -> Sequences:
        """The same: what a run asks for."""
        return self.sequence(client_id)

    def ahead(self) -> ClientSequences:
        """The same data, which a thread begins to read now: the next round's clients, while this round's compute.

        What it has read and nobody has asked for yet waits in memory, up to 256 MB.
        """
        return ClientSequences(self.client_ids, ReadAhead(self.reader, self.client_ids))


@dataclass(frozen=True)
class ClientData(DatasetClients[Examples]):
    """For each client its examples, stacked: leaf arrays with one first axis."""

    @classmethod
    def from_dict(cls, clients: Mapping[str, object]) -> Self:
        """What `convert.examples_of` reads, by client id: datasets are read at each use, the rest at once.

        Arrays are copied, unless nobody can change them (`array.flags.writeable` is false, and so it is of whatever
        they are views of) or they are of a file that is mapped for reading.
        """
        readers = {client: _reader(client, value, _own_examples) for client, value in clients.items()}
        return cls(tuple(readers), lambda client: readers[client]())

    @classmethod
    def from_list(cls, clients: Iterable[object]) -> Self:
        """The same for data without ids; the clients are called "0", "1" and so on."""
        return cls.from_dict(_named(list(clients)))

    @classmethod
    def from_function(cls, client_ids: Iterable[str], function: Callable[[str], object]) -> Self:
        """Data that `function` reads or makes for a client's id; called at each use, perhaps from several threads."""
        return cls(tuple(client_ids), lambda client: examples_of(client, function(client)))

    def examples(self, client_id: str) -> Examples:
        """The client's examples, read now. `DiagnosticError` FED0618 for an id that is not there."""
        return self._read(client_id)

    def sequence(self, client_id: str) -> Sequences:
        """The client's examples as a sequence, one example an element."""
        return map_leaves(Rows, self.examples(client_id))

    def client(self, client_id: str) -> Sequences:
        """The same: what a run asks for."""
        return self.sequence(client_id)

    def create_tf_dataset_for_client(self, client_id: str) -> Any:
        """The client's examples as a `tf.data.Dataset` of one example an element."""
        return dataset_of(self.examples(client_id))

    def count(self, client_id: str) -> int:
        """How many examples the client has; reads them."""
        return count_examples(self.examples(client_id))

    def map(self, function: Callable[[Examples], object]) -> ClientData:
        """The data with `function` applied to each client's stacked examples, when they are read."""
        return ClientData.from_function(self.client_ids, lambda client: function(self.reader(client)))

    def concatenate(self) -> Examples:
        """The examples of all clients, one after the other. `DiagnosticError` FED0711 if there are no clients."""
        parts = [self.examples(client) for client in self.client_ids]
        if not parts:
            raise no_clients("concatenate")
        for client, part in zip(self.client_ids, parts, strict=True):
            if set(structure_of(part)) != set(structure_of(parts[0])):
                raise other_fields(client, structure_of(part), self.client_ids[0], structure_of(parts[0]))
        return join_trees(np.concatenate, parts)

    def batches(
        self, size: int, epochs: int = 1, shuffle_seed: int | None = None, *, drop_last: bool = False
    ) -> ClientSequences:
        """For each client its examples in batches of `size`, `epochs` times over.

        A batch never spans two epochs, so the last one of an epoch may be smaller; `drop_last` leaves it out. With a
        `shuffle_seed` every epoch has an order of its own, which depends on the seed, the client's id and the epoch
        only. No example is copied: batches are ranges of the examples, or of numbers of them.
        """
        for what, value in (("the batch size", size), ("the number of epochs", epochs)):
            if value < 1:
                raise wrong_count(what, value, "1 or more")
        cut = partial(cut_batches, size=size, epochs=epochs, shuffle_seed=shuffle_seed, drop_last=drop_last)
        return ClientSequences(self.client_ids, _Cut(self.reader, cut))


class _Cut:
    """Reads a client and cuts its batches; for examples that stay in memory anyway, the same batches each time.

    Whoever packs batches for an executor can then tell that it has them already. Examples that are read or made
    anew are not kept, nor anything of them: an array seen before is known to stay only when it is still there at the
    next reading. Nor are arrays that can be changed.
    """

    def __init__(self, reader: Callable[[str], Examples], cut: Callable[[str, Examples], Sequences]) -> None:
        self._reader = reader
        self._cut = cut
        self._seen: dict[str, tuple[object, list[ref[Array]]]] = {}
        self._kept: dict[str, tuple[object, list[Array], Sequences]] = {}

    def __call__(self, client: str) -> Sequences:
        examples = self._reader(client)
        marks = marks_of(examples)
        kept = self._kept.get(client)
        if kept is not None and kept[0] == marks:
            return kept[2]
        made = self._cut(client, examples)
        leaves = [leaf for _, leaf in named_leaves(examples)]
        if all(map(is_fixed, leaves)):
            seen = self._seen.get(client)
            if seen is not None and seen[0] == marks and all(leaf() is not None for leaf in seen[1]):
                self._kept[client] = (marks, leaves, made)
            self._seen[client] = marks, [ref(leaf, lambda _: self._seen.pop(client, None)) for leaf in leaves]
        return made


def client_sequences(clients: object, *, batched: bool = False) -> ClientSequences:
    """What a user hands in for `<T*>@CLIENTS`: client data, a mapping by client id, or a list with an entry a client.

    With `batched`, entries are lists, generators or datasets of batches; otherwise of examples, or stacked arrays.
    """
    if isinstance(clients, ClientSequences):
        return clients
    if isinstance(clients, ClientData):
        return ClientSequences(clients.client_ids, clients.sequence)
    if isinstance(clients, ClientDatasets) and batched:
        return ClientSequences(clients.client_ids, lambda client: batches_of(client, clients.client(client)))
    if isinstance(clients, ClientDatasets):
        return client_sequences(ClientData.from_function(clients.client_ids, clients.client))
    named = _named(clients)
    if not batched:
        return client_sequences(ClientData.from_dict(named))
    readers = {client: _reader(client, value, _own_batches) for client, value in named.items()}
    return ClientSequences(tuple(readers), lambda client: readers[client]())


def _named(clients: object) -> dict[str, object]:
    """The entries by client id; those of a list are called "0", "1" and so on."""
    if isinstance(clients, Mapping):
        return {str(client): value for client, value in clients.items()}
    if isinstance(clients, (list, tuple)):
        return {str(index): value for index, value in enumerate(clients)}
    raise unreadable_clients(type(clients).__name__)


def _reader(client: str, value: object, read: Callable[[str, object], T]) -> Callable[[], T]:
    """A function that gives what `read` makes of the value: of a dataset at each use, of the rest now."""
    if is_dataset(value):
        return lambda: read(client, value)
    made = read(client, value)
    return lambda: made


def _own_examples(client: str, value: object) -> Examples:
    """Examples that nobody can change afterwards: stacked here, or copies where they are the user's arrays."""
    given = is_stacked(value)
    return map_leaves(
        lambda leaf: fix(leaf.copy() if given and not is_fixed(leaf) else leaf), examples_of(client, value)
    )


def _own_batches(client: str, value: object) -> Sequences:
    """Batches that nobody can change afterwards."""
    batches: Sequences = batches_of(client, value)
    fixed: Sequences = map_leaves(_fixed_sequence, batches)  # type: ignore[arg-type] # a tree's leaf is no type to mypy
    return fixed


def _fixed_sequence(leaf: LeafValue) -> LeafValue:
    if isinstance(leaf, Elements):
        return Elements(tuple(fix(item.copy()) for item in leaf.items))
    assert isinstance(leaf, Rows), "batches are sequences"
    return Rows(fix(leaf.rows), *(None if each is None else fix(each) for each in (leaf.splits, leaf.order)))
