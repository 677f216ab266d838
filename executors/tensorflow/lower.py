"""Lowering: a local graph for one client, to TensorFlow operations, while a `tf.function` is traced.

In: a graph (no `call`, `gradient`, no strings), its arguments (tensors, and `Elements` for sequences) and a
`Scope`. Out: the results. Sizes may be unknown until the function runs; they are read from the arguments' shapes.

Broadcast values stay small: an axis of size 1 stands for the repeated values until an operation that is not
elementwise reads them. Elementwise operations broadcast anyway, and repeating a bias over a batch would cost more
than adding it. And convolutions stay `Longer` than they are to be, until an operation reads them that does not do the
same to every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedlang.ir.graph import Graph, Node, Tensor
from fedlang.ir.graph import Sequence as SequenceType

from . import contraction, control, convolution, elementwise, random, reductions, structural
from .attributes import graph as graph_attribute
from .attributes import integer, text
from .dtypes import hidden_axes
from .externs import extern, extern_vjp
from .scope import Scope, Site, Unsupported, site_of, sites_in
from .sequences import Batches, Chosen, Counted, Elements, Part, Repeated, sequence_of
from .start import tf
from .structural import Longer, Lowered

OPERATIONS: dict[str, Lowered] = {
    **reductions.TABLE,
    **structural.TABLE,
    **convolution.TABLE,
    **random.TABLE,
}
SCOPE = "op."  # begins the name of whatever an operation becomes, by which a profile is read
SMALL: dict[str, Lowered] = {"broadcast": structural.broadcast, "iota": structural.iota}


def evaluate(graph: Graph, arguments: Sequence[Any], scope: Scope) -> list[Any]:
    """The results of a graph for these arguments."""
    return _Trace(graph, scope).run(arguments)


class _Trace:
    """One pass over the nodes of one graph."""

    def __init__(self, graph: Graph, scope: Scope) -> None:
        self.graph = graph
        self.scope = scope
        self.values: list[Any] = []
        self.small: set[int] = set()  # nodes whose tensor may be smaller than their type

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        self._bind(arguments)
        for index, node in enumerate(self.graph.nodes):
            if node.op == "parameter":
                value = arguments[integer(node, "index")]
            else:
                with tf.name_scope(f"{SCOPE}{node.op}"):
                    value = self._value(index, node)
            self.values.append(value)
            if not isinstance(value, Longer):  # whose sizes are those of what it is made of
                self._learn(index, node, value)
        return [self._whole(index) for index in self.graph.results]

    def _bind(self, arguments: Sequence[Any]) -> None:
        """Learns the arguments' sizes. In a body, an element's may differ from the last one's; in a batched graph
        none do."""
        again = self.scope.flag_rank == 0
        for type, value in zip(self.graph.parameter_types(), arguments, strict=True):
            if isinstance(type, Tensor):
                self.scope.bind_shape(type.shape, value, again=again)
            else:
                self.scope.bind(type.length, value.length, again=again)

    def _learn(self, index: int, node: Node, value: Any) -> None:
        """Sizes that a result has and nothing before it had."""
        if isinstance(node.type, SequenceType):
            self.scope.bind(node.type.length, value.length)
        elif isinstance(node.type, Tensor) and index not in self.small:
            self.scope.bind_shape(node.type.shape, value)
            _tell(node.type, value)
        elif node.op == "extern" and isinstance(node.type, tuple):
            for type, result in zip(node.type, value, strict=True):
                if isinstance(type, Tensor):
                    self.scope.bind_shape(type.shape, result)

    def _value(self, index: int, node: Node) -> Any:
        if node.op in elementwise.NAMES:
            return self._elementwise(index, node)
        if node.op in SMALL:
            self.small.add(index)
            return SMALL[node.op](self.scope, node, [self._cut(i) for i in node.inputs])
        if node.op == "matmul":
            return contraction.matmul(self.scope, node, [self._rows(i) for i in node.inputs])
        if node.op == "get":
            return self.values[node.inputs[0]][integer(node, "index")]
        inputs = [self._whole(i) for i in node.inputs]
        known = OPERATIONS.get(node.op)
        return self._other(index, node, inputs) if known is None else known(self.scope, node, inputs)

    def _elementwise(self, index: int, node: Node) -> Any:
        if node.inputs and all(i in self.small for i in node.inputs):
            self.small.add(index)
        if (sooner := self._sooner(node)) is not None:
            return sooner
        return elementwise.elementwise(self.scope, node, [self._cut(i) for i in node.inputs])

    def _sooner(self, node: Node) -> Longer | None:
        """The result of an operation that does the same to every row, from an input before rows are cut off; None where
        that isn't what it is. TensorFlow then finds it next to a convolution, and makes one operation of both."""
        inputs = [self.values[i] for i in node.inputs]
        longer = [x for x in inputs if isinstance(x, Longer)]
        if len(longer) != 1 or (self.scope.multiples and node.op in elementwise.HARD):
            return None
        (one,) = longer
        if any(x.shape.rank != one.whole.shape.rank or x.shape[0] != 1 for x in inputs if x is not one):
            return None
        inputs = [one.whole if x is one else x for x in inputs]
        found = convolution.biased(*inputs) if node.op == "add" else None
        return Longer(elementwise.elementwise(self.scope, node, inputs) if found is None else found, one.count)

    def _cut(self, index: int) -> Any:
        """A node's tensor without rows that are to be cut off."""
        value = self.values[index]
        if isinstance(value, Longer):
            self.values[index] = value = value.cut()
            _tell(self.graph.nodes[index].tensor, value)
        return value

    def _other(self, index: int, node: Node, inputs: list[Any]) -> Any:
        special = SPECIAL.get(node.op)
        if special is None:
            raise Unsupported(f"TensorFlow does not run `{node.op}`")
        return special(self.scope, node, inputs, self.graph.spans[index] if self.graph.spans else None)

    def _whole(self, index: int) -> Any:
        """A node's tensor with all its values."""
        if index in self.small:
            type = self.graph.nodes[index].tensor
            self.values[index] = tf.broadcast_to(self.values[index], self.scope.shape(type.shape, type.dtype))
            self.small.discard(index)
        return self._cut(index)

    def _rows(self, index: int) -> Any:
        """As `_whole`, but leading axes may stay of size 1: a matrix product repeats them itself."""
        value = self._cut(index)
        if index in self.small and all(size != 1 for size in value.shape[-2:]):
            return value
        return self._whole(index)


def _tell(type: Tensor, value: Any) -> None:
    """Tells TensorFlow the sizes that a type has and that it lost."""
    known = [*type.shape, *hidden_axes(type.dtype)]
    sizes = zip(value.shape, known, strict=True)
    value.set_shape([n if have is None and isinstance(n, int) else have for have, n in sizes])


def _fold(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    results = _convolutions(scope, node, inputs)
    if results is None:
        over = inputs[integer(node, "captured") + integer(node, "carries") :]
        sites = {site: None for value in over for site in _mapped_sites(value)}
        sites |= dict.fromkeys(sites_in(graph_attribute(node, "body")))
        results = control.fold(evaluate, scope, node, inputs, tuple(sites))
    return results if isinstance(node.type, tuple) else results[0]


def _convolutions(scope: Scope, node: Node, inputs: list[Any]) -> list[Any] | None:
    """The results of a loop over clients that is a convolution for each, where there are products for all at once."""
    found = convolution.of_each_client(node) if scope.multiples else None
    if found is None or not all(map(tf.is_tensor, inputs)):
        return None
    with tf.name_scope(f"{SCOPE}{found[0].op}"):
        return [convolution.together(*found, inputs)]


def _mapped_sites(value: Any) -> tuple[Site, ...]:
    """The checks that run when elements of a sequence are read."""
    if isinstance(value, Mapped):
        return (*sites_in(value.body), *(site for each in value.sequences for site in _mapped_sites(each)))
    return _mapped_sites(value.inner) if isinstance(value, Batches | Part | Repeated | Chosen) else ()


def _cond(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    results = control.cond(evaluate, scope, node, inputs)
    return results if isinstance(node.type, tuple) else results[0]


class Mapped(Elements):
    """A graph applied to the elements of sequences."""

    def __init__(self, body: Graph, captured: list[Any], sequences: list[Elements]) -> None:
        object.__setattr__(self, "length", sequences[0].length)
        object.__setattr__(self, "body", body)
        object.__setattr__(self, "captured", captured)
        object.__setattr__(self, "sequences", sequences)

    body: Graph
    captured: list[Any]
    sequences: list[Elements]

    def at(self, scope: Scope, place: Any) -> Any:
        elements = [each.at(scope, place) for each in self.sequences]
        return evaluate(self.body, [*self.captured, *elements], scope)[0]

    def pick(self, scope: Scope, places: Any) -> Any:
        def step(inner: Scope, t: Any, carried: list[Any]) -> tuple[list[Any], list[Any]]:
            return [], [self.at(inner, places[t])]

        types = control.tensor_types(self.body.result_types(), "the element of a map")
        return control.loop(scope, tf.shape(places)[0], step, [], [], types, _mapped_sites(self))[1][0]


def _map(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    captured = integer(node, "captured")
    return Mapped(graph_attribute(node, "body"), inputs[:captured], [sequence_of(x) for x in inputs[captured:]])


def _batch(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    inner, size = sequence_of(inputs[0]), inputs[1]
    _flag(scope, node, span, size >= 1)
    size = tf.maximum(size, 1)
    return Batches(-(-inner.length // size), inner, size)


def _take(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    inner = sequence_of(inputs[0])
    return Part(tf.clip_by_value(inputs[1], 0, inner.length), inner, 0)


def _skip(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    inner = sequence_of(inputs[0])
    start = tf.clip_by_value(inputs[1], 0, inner.length)
    return Part(inner.length - start, inner, start)


def _repeat(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    inner = sequence_of(inputs[0])
    return Repeated(inner.length * tf.maximum(inputs[1], 0), inner)


def _shuffle(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    inner = sequence_of(inputs[0])
    return Chosen(inner.length, inner, random.permutation(inputs[1], inner.length))


def _filter(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    kept = tf.cast(tf.reshape(tf.where(inputs[1]), [-1]), tf.int32)
    return Chosen(tf.shape(kept)[0], sequence_of(inputs[0]), kept)


def _stack(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    sequence = sequence_of(inputs[0])
    return sequence.span(scope, 0, sequence.length)


def _check(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    _flag(scope, node, span, tf.reduce_all(inputs[0], list(range(scope.flag_rank, len(inputs[0].shape)))))
    return ()


def _flag(scope: Scope, node: Node, span: Any, ok: Any) -> None:
    site = site_of(node, span)
    assert site is not None, node.op
    scope.flag(site, ok)


def _note(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    if scope.nested:
        raise Unsupported(f"`{node.op}` inside a loop or a choice")
    scope.notes.append((Site(node.op, text(node, "format" if node.op == "print" else "name"), span), tuple(inputs)))
    return ()


SPECIAL: dict[str, Any] = {
    "fold": _fold,
    "cond": _cond,
    "map": _map,
    "batch": _batch,
    "take": _take,
    "skip": _skip,
    "repeat": _repeat,
    "shuffle": _shuffle,
    "filter": _filter,
    "stack": _stack,
    "unstack": lambda scope, node, inputs, span: sequence_of(inputs[0]),
    "count_to": lambda scope, node, inputs, span: Counted(tf.maximum(inputs[0], 0)),
    "check": _check,
    "print": _note,
    "probe": _note,
    "extern": extern,
    "extern_vjp": extern_vjp,
}
