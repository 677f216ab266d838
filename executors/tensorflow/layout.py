"""How the values of a chunk of clients are handed to TensorFlow: one flat list of tensors whose shapes say nothing of
the chunk.

Parameters that do not vary come first, each as it is. Those that vary, by kind:

    group    sequence leaves whose rows are numbered alike: for each client how many elements it has and where its rows
             start, then the store; where elements are ranges of rows, where its splits start, then the splits and the
             numbers of rows (`numbering.py`), then the store
    fixed    a tensor whose sizes are known: stacked, [C, ...]
    free     a tensor with symbolic sizes: its elements one behind the other, where each client's start, and its sizes

`Layout.specs` are their signatures, `Layout.pack` makes them on the host, `Layout.client` takes one client's
arguments out while tracing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import Graph, Tensor
from fedlang.ir.graph import Sequence as SequenceType
from fedlang.passes.batch import Grouping, grouping, is_split
from fedlang.run.sequences import Elements as ElementsValue
from fedlang.run.sequences import LeafValue, SequenceValue
from fedlang.run.sequences import Rows as RowsValue
from fedlang.run.values import numpy_dtype

from .dtypes import TF_DTYPES, hidden_axes, spec_of, static_shape
from .kept import Numbers
from .memory import feed_of
from .numbering import alike, numbered
from .scope import Unsupported
from .sequences import Elements, Rows, Splits
from .start import tf
from .store import Store, whole


@dataclass(frozen=True, slots=True)
class Group:
    """Varying sequence parameters whose rows are numbered alike; `split` where their elements are ranges of rows."""

    members: tuple[int, ...]
    split: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The parameters of a work graph by how they are handed over."""

    graph: Graph
    varies: tuple[bool, ...]
    shared: tuple[int, ...]
    groups: tuple[Group, ...]
    fixed: tuple[int, ...]
    free: tuple[int, ...]

    def specs(self) -> list[Any]:
        """The signature: shared, then groups, fixed and free tensors."""
        types = self.graph.parameter_types()
        groups = [spec for group in self.groups for spec in self._group_specs(group)]
        fixed = [spec_of(self.tensor(k), leading=1) for k in self.fixed]
        free = [spec for k in self.free for spec in _free_specs(self.tensor(k))]
        assert len(types) == len(self.varies)
        return [*self.shared_specs(), *groups, *fixed, *free]

    def shared_specs(self) -> list[Any]:
        """The signature of the shared parameters."""
        return [spec for k in self.shared for spec in self._shared_specs(k)]

    def tensor(self, parameter: int) -> Tensor:
        """The type of a tensor parameter."""
        type = self.graph.parameter_types()[parameter]
        assert isinstance(type, Tensor), parameter
        return type

    def sequence(self, parameter: int) -> SequenceType:
        """The type of a sequence parameter."""
        type = self.graph.parameter_types()[parameter]
        assert isinstance(type, SequenceType), parameter
        return type

    def _shared_specs(self, parameter: int) -> list[Any]:
        type = self.graph.parameter_types()[parameter]
        if isinstance(type, Tensor):
            return [spec_of(type)]
        if is_split(self.graph, type):
            return [_rows_spec(type.element, split=True), tf.TensorSpec([None], tf.int32)]
        return [_rows_spec(type.element, split=False)]

    def _group_specs(self, group: Group) -> list[Any]:
        counts = 4 if group.split else 2
        columns = [_rows_spec(self.sequence(k).element, split=group.split) for k in group.members]
        return [*[tf.TensorSpec([None], tf.int32)] * counts, *columns]

    def stores(self) -> list[Store]:
        """New stores, one for each group."""
        return [Store(tuple(self.sequence(k).element for k in g.members), split=g.split) for g in self.groups]

    def pack_shared(self, values: Sequence[LeafValue]) -> list[Any]:
        """The shared parameters' feeds."""
        packed: list[Any] = []
        for parameter, value in zip(self.shared, values, strict=True):
            packed += _shared_feeds(self.graph, parameter, value)
        return packed

    def pack(self, stores: list[Store], own: Sequence[tuple[LeafValue, ...]]) -> list[Any]:
        """The varying parameters' tensors for clients with these values."""
        position = {k: n for n, k in enumerate(k for k, differs in enumerate(self.varies) if differs)}
        packed: list[Any] = []
        for group, store in zip(self.groups, stores, strict=True):
            packed += _pack_group(group, store, [tuple(values[position[k]] for k in group.members) for values in own])
        for k in self.fixed:
            packed.append(_stack(self.tensor(k), [values[position[k]] for values in own]))
        for k in self.free:
            packed += _pack_free(self.tensor(k), [np.asarray(values[position[k]]) for values in own])
        return packed

    def shared_arguments(self, feeds: list[Any]) -> dict[int, Any]:
        """Arguments that all clients have, by parameter; takes their tensors off the front of `feeds`."""
        found: dict[int, Any] = {}
        for k in self.shared:
            taken = [feeds.pop(0) for _ in self._shared_specs(k)]
            found[k] = taken[0] if isinstance(self.graph.parameter_types()[k], Tensor) else _shared_sequence(taken)
        return found

    def client(self, feeds: Sequence[Any], client: Any) -> dict[int, Any]:
        """One client's arguments, by parameter, from the tensors that `pack` made."""
        rest = list(feeds)
        found: dict[int, Any] = {}
        for group in self.groups:
            found |= self._group_client(group, [rest.pop(0) for _ in self._group_specs(group)], client)
        for k in self.fixed:
            found[k] = rest.pop(0)[client]
        for k in self.free:
            flat, starts, sizes = (rest.pop(0) for _ in range(3))
            shape = static_shape(self.tensor(k).shape, self.tensor(k).dtype)
            whole = flat[starts[client] : starts[client + 1]]
            found[k] = tf.ensure_shape(tf.reshape(whole, sizes[client]), shape)
        return found

    def _group_client(self, group: Group, feeds: list[Any], client: Any) -> dict[int, Elements]:
        length, first = feeds[0][client], feeds[1][client]
        if not group.split:
            return {k: Rows(length, store, first) for k, store in zip(group.members, feeds[2:], strict=True)}
        splits, rows, *stores = feeds[2:]
        return {k: Splits(length, store, splits, first, rows) for k, store in zip(group.members, stores, strict=True)}


def layout_of(graph: Graph, varies: tuple[bool, ...]) -> Layout:
    """How a work graph's parameters are handed over. `Unsupported` where nothing that is handed over differs."""
    _refuse_strings(graph)
    if not any(varies):
        raise Unsupported("it is the same work at every client")
    types = graph.parameter_types()
    groups: dict[Grouping, list[int]] = {}
    for k, type in enumerate(types):
        if varies[k] and isinstance(type, SequenceType):
            groups.setdefault(grouping(graph, type), []).append(k)
    tensors = [k for k, type in enumerate(types) if varies[k] and isinstance(type, Tensor)]
    return Layout(
        graph,
        varies,
        tuple(k for k, differs in enumerate(varies) if not differs),
        tuple(Group(tuple(members), rows is not None) for (_, rows), members in groups.items()),
        tuple(k for k in tensors if _is_fixed(types[k])),
        tuple(k for k in tensors if not _is_fixed(types[k])),
    )


def _refuse_strings(graph: Graph) -> None:
    for node in graph.nodes:
        leaves = node.type if isinstance(node.type, tuple) else (node.type,)
        if any((leaf.element if isinstance(leaf, SequenceType) else leaf).dtype == "string" for leaf in leaves):
            raise Unsupported("it works with strings")


def _is_fixed(type: object) -> bool:
    return isinstance(type, Tensor) and all(isinstance(size, int) for size in type.shape)


def _rows_spec(element: Tensor, *, split: bool) -> Any:
    sizes = element.shape[1:] if split else element.shape
    return tf.TensorSpec([None, *static_shape(sizes, element.dtype)], TF_DTYPES[element.dtype])


def _free_specs(type: Tensor) -> list[Any]:
    rank = len(type.shape) + len(hidden_axes(type.dtype))
    vector = tf.TensorSpec([None], tf.int32)
    return [tf.TensorSpec([None], TF_DTYPES[type.dtype]), vector, tf.TensorSpec([None, rank], tf.int32)]


def _shared_sequence(feeds: list[Any]) -> Elements:
    if len(feeds) == 1:
        return Rows(tf.shape(feeds[0])[0], feeds[0])
    return Splits(tf.shape(feeds[1])[0] - 1, feeds[0], feeds[1])


def _shared_feeds(graph: Graph, parameter: int, value: LeafValue) -> list[Any]:
    type = graph.parameter_types()[parameter]
    if isinstance(type, Tensor):
        return [feed_of(np.asarray(value, numpy_dtype(type.dtype)))]
    if not isinstance(value, RowsValue):
        raise Unsupported("a shared sequence of unequal elements")
    if not is_split(graph, type):
        return [feed_of(_whole_rows(type.element, value))]
    value = value.laid_out()
    splits = value.splits
    if splits is None:
        splits = np.arange(len(value.rows) + 1, dtype=np.int64) * value.rows.shape[1]
    rows = value.rows if value.splits is not None else value.rows.reshape(-1, *value.rows.shape[2:])
    return [feed_of(rows), feed_of(splits.astype(np.int32))]


def _whole_rows(element: Tensor, value: RowsValue) -> NDArray[Any]:
    """Elements of one size, each a row."""
    found = whole(value)
    if isinstance(found, RowsValue):
        return found.rows
    sizes = (*(size if isinstance(size, int) else 0 for size in element.shape), *hidden_axes(element.dtype))
    return np.zeros((0, *sizes), numpy_dtype(element.dtype))


def _pack_group(group: Group, store: Store, leaves: list[tuple[LeafValue, ...]]) -> list[Any]:
    numbers = store.numbers_of(leaves, partial(_numbers_of, group, store, leaves))
    return [*numbers, *store.tensors()]


def _numbers_of(group: Group, store: Store, leaves: list[tuple[LeafValue, ...]]) -> tuple[Numbers, ...]:
    sequences = [sequences_of(each) for each in leaves]
    places = [store.place(each) for each in sequences]
    if group.split:
        found = numbered(places, [each[0] for each in sequences])
        return found.lengths, found.first, found.splits, found.rows
    lengths, starts = [len(each[0]) for each in sequences], [place.start for place in places]
    return np.array(lengths, np.int32), np.array(starts, np.int32)


def sequences_of(leaves: tuple[LeafValue, ...]) -> tuple[SequenceValue, ...]:
    """A client's sequences of one group, as they lie in its store."""
    found = tuple([leaf for leaf in leaves if isinstance(leaf, (RowsValue, ElementsValue))])
    assert len(found) == len(leaves), "a sequence parameter has a sequence value"
    return alike(found)


def _stack(type: Tensor, values: list[LeafValue]) -> NDArray[Any]:
    return np.stack([np.asarray(value, numpy_dtype(type.dtype)) for value in values])


def _pack_free(type: Tensor, arrays: list[NDArray[Any]]) -> list[Any]:
    starts = np.cumsum([0, *(array.size for array in arrays)]).astype(np.int32)
    rank = len(type.shape) + len(hidden_axes(type.dtype))
    sizes = np.array([array.shape for array in arrays], np.int32).reshape(len(arrays), rank)
    return [np.concatenate([array.reshape(-1) for array in arrays]), starts, sizes]
