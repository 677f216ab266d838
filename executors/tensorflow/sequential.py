"""A chunk of clients as one TensorFlow program that runs them one by one: `compile_sequential`.

The loop over clients is in the graph, and each client's own operations run as if it were alone: its bits are the same
in any chunk, at any place, with any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedlang.ir.graph import Graph, Node, Tensor
from fedlang.ir.graph import Sequence as SequenceType

from . import control
from .calls import Traced
from .dtypes import TF_DTYPES, hidden_axes
from .layout import Layout
from .lower import evaluate
from .scope import Scope, Site, Unsupported, extent, sites_in
from .start import tf
from .together import calls_tensorflow


@dataclass(frozen=True, slots=True)
class Note:
    """A print or a probe: what it is, and the types of what it shows."""

    kind: str
    text: str
    types: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A chunk's program. `function(*feeds)` gives the outputs in this order: results, notes, and flags [C, sites].

    An output whose sizes are known is stacked, [C, ...]. Of any other, two tensors come: the clients' elements one
    behind the other, and the clients' sizes.
    """

    function: Traced
    layout: Layout
    results: tuple[Tensor, ...]
    sequences: tuple[bool, ...]
    notes: tuple[Note, ...]
    sites: tuple[Site, ...]

    def traces(self) -> int:
        """How often the program was traced."""
        return self.function.traces()


def compile_sequential(layout: Layout, *, label: str = "work") -> Program:
    """The program that runs a chunk's clients one by one; `label` is its name in profiles."""
    graph = layout.graph
    results, notes = tuple(result_tensor(type) for type in graph.result_types()), notes_in(graph)
    outputs = (*results, *(type for note in notes for type in note.types))
    sites = sites_in(graph)

    def run(*feeds: Any) -> list[Any]:
        rest = list(feeds)
        common = layout.shared_arguments(rest)

        def step(scope: Scope, client: Any, carried: list[Any]) -> tuple[list[Any], list[Any]]:
            arguments = common | layout.client(rest, client)
            values = evaluate(graph, [arguments[k] for k in range(len(graph.parameters))], scope)
            shown = [value for _, note in scope.notes for value in note]
            scope.notes.clear()
            flags = [scope.flags.get(site, tf.constant(True)) for site in sites]
            given = [_as_tensor(scope, value) for value in values] + shown
            spread = [part for type, value in zip(outputs, given, strict=True) for part in _spread(type, value)]
            return [], [*spread, tf.reshape(tf.stack(flags) if flags else tf.zeros([0], tf.bool), [len(sites)])]

        with tf.name_scope(label):
            return _over_clients(layout, rest, step, outputs, len(sites))

    function = Traced(run, layout.specs(), as_written=not calls_tensorflow(graph))
    sequences = tuple(isinstance(type, SequenceType) for type in graph.result_types())
    return Program(function, layout, results, sequences, notes, sites)


def _over_clients(
    layout: Layout, feeds: list[Any], step: control.Step, outputs: tuple[Tensor, ...], flags: int
) -> list[Any]:
    types: list[Any] = [type for output in outputs for type in _spread_types(output)]
    count = clients_in(layout, feeds)
    lists = [_list(type, count) for type in [*types, (tf.bool, [flags])]]

    def body(client: Any, kept: list[Any]) -> tuple[Any, list[Any]]:
        scope = Scope()
        _, rows = step(scope, client, [])
        return client + 1, [one.write(client, row) for one, row in zip(kept, rows, strict=True)]

    _, lists = tf.while_loop(lambda client, _: client < count, body, (tf.constant(0), lists), parallel_iterations=1)
    free = [shape == [None] for _, shape in types] + [False]
    return [one.concat() if joined else one.stack() for one, joined in zip(lists, free, strict=True)]


def _list(type: tuple[Any, Any], count: Any) -> Any:
    dtype, shape = type
    return tf.TensorArray(dtype, size=count, element_shape=tf.TensorShape(shape), infer_shape=False)


def clients_in(layout: Layout, feeds: list[Any]) -> Any:
    """How many clients the chunk has."""
    if layout.groups or layout.fixed:
        return extent(feeds[0], 0)
    return extent(feeds[1], 0) - 1


def is_free(type: Tensor) -> bool:
    """Whether clients' values may have different shapes."""
    return not all(isinstance(size, int) for size in type.shape)


def _spread(type: Tensor, value: Any) -> list[Any]:
    return [tf.reshape(value, [-1]), tf.shape(value)] if is_free(type) else [value]


def _spread_types(type: Tensor) -> list[tuple[Any, Any]]:
    dtype, axes = TF_DTYPES[type.dtype], hidden_axes(type.dtype)
    if is_free(type):
        return [(dtype, [None]), (tf.int32, [len(type.shape) + len(axes)])]
    return [(dtype, [*type.shape, *axes])]


def _as_tensor(scope: Scope, value: Any) -> Any:
    return value.span(scope, 0, value.length) if hasattr(value, "span") else value


def result_tensor(type: object) -> Tensor:
    """A result's type; a sequence of equal elements comes as the tensor of its rows."""
    if isinstance(type, Tensor):
        return type
    assert isinstance(type, SequenceType)
    if any(not isinstance(size, int) for size in type.element.shape):
        raise Unsupported("a result that is a sequence of unequal elements")
    return Tensor(type.element.dtype, (type.length, *type.element.shape))


def notes_in(graph: Graph) -> tuple[Note, ...]:
    """The prints and probes of a graph; those inside loops and choices are not for TensorFlow."""
    found = []
    for node in graph.nodes:
        if node.op in ("print", "probe"):
            types = tuple(result_tensor(graph.nodes[i].leaf) for i in node.inputs)
            found.append(
                Note(node.op, str(dict(node.attributes).get("format", dict(node.attributes).get("name", ""))), types)
            )
        _refuse_inside(node)
    return tuple(found)


def _refuse_inside(node: Node) -> None:
    for _, value in node.attributes:
        if isinstance(value, Graph):
            for inner in value.nodes:
                if inner.op in ("print", "probe"):
                    raise Unsupported(f"`{inner.op}` inside a loop or a choice")
                _refuse_inside(inner)
