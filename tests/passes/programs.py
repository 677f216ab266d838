"""A short way to write graphs in tests, and the elementwise derivative rules that the prelude has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from executors.reference.plan import evaluate_graph
from fedlang.ir.graph import Builder, Graph, LeafType, Node, Tensor
from fedlang.ir.verify import verify_graph
from fedlang.types.dims import Size

DTYPE = "float64"


def real(*shape: Size) -> Tensor:
    """A float64 tensor's type."""
    return Tensor(DTYPE, shape)


class Write(Builder):
    """A builder whose elementwise operations know their types."""

    def op(self, name: str, *inputs: int, type: LeafType | None = None, **attributes: Any) -> int:
        """An operation; its type is that of its last input where none is given."""
        return self.add(name, inputs, type or self.nodes[inputs[-1]].leaf, **attributes)

    def sum(self, x: int) -> int:
        """The sum of all elements."""
        rank = len(self.nodes[x].tensor.shape)
        return self.op("reduce_sum", x, type=real(), axes=tuple(range(rank))) if rank else x

    def number(self, value: float, *shape: Size) -> int:
        """A constant, repeated to a shape."""
        scalar = self.add("constant", (), real(), value=value)
        return self.add("broadcast", (scalar,), real(*shape), axes=()) if shape else scalar


def graph_of(types: Sequence[LeafType], body: Callable[..., int | tuple[int, ...]]) -> Graph:
    """The graph of a function of a `Write` and its parameters."""
    write = Write()
    results = body(write, *(write.parameter(type) for type in types))
    return write.finish(results if isinstance(results, tuple) else (results,))


def value_and_gradient(body: Graph, count: int, *, value: bool = True) -> Graph:
    """A graph with one `gradient` node."""
    write = Write()
    arguments = tuple(write.parameter(type) for type in body.parameter_types())
    kept = body.result_types() if value else ()
    types = (*kept, *body.parameter_types()[:count])
    node = write.add("gradient", arguments, types, body=body, count=count, value=value)
    return write.finish(tuple(write.get(node, k) for k in range(len(types))))


def run(graph: Graph, *arguments: Any) -> list[Any]:
    """The results by the reference evaluator, after verification."""
    verify_graph(graph, level="local")
    return evaluate_graph(graph, [np.asarray(each) if np.isscalar(each) else each for each in arguments])


Formula = Callable[[Write, tuple[int, ...], int, int], tuple[int, ...]]
FORMULAS: dict[str, Formula] = {
    "add": lambda b, x, y, d: (d, d),
    "subtract": lambda b, x, y, d: (d, b.op("negate", d)),
    "multiply": lambda b, x, y, d: (b.op("multiply", d, x[1]), b.op("multiply", x[0], d)),
    "divide": lambda b, x, y, d: (
        b.op("divide", d, x[1]),
        b.op("negate", b.op("divide", b.op("multiply", d, y), x[1])),
    ),
    "negate": lambda b, x, y, d: (b.op("negate", d),),
    "exp": lambda b, x, y, d: (b.op("multiply", d, y),),
    "log": lambda b, x, y, d: (b.op("divide", d, x[0]),),
    "tanh": lambda b, x, y, d: (b.op("subtract", d, b.op("multiply", d, b.op("multiply", y, y))),),
    "square": lambda b, x, y, d: (b.op("multiply", d, b.op("add", x[0], x[0])),),
}


def elementwise_rules(node: Node, types: tuple[LeafType, ...]) -> Graph | None:
    """What the prelude says of elementwise operations."""
    formula = FORMULAS.get(node.op)
    if formula is None:
        return None
    write = Write()
    inputs = tuple(write.parameter(type) for type in types)
    y, dy = write.parameter(node.leaf), write.parameter(node.leaf)
    return write.finish(formula(write, inputs, y, dy))


def numeric_gradient(function: Callable[..., float], arguments: list[Any], position: int, step: float = 1e-6) -> Any:
    """The derivative by one argument, by central differences."""
    x = np.array(arguments[position], dtype=np.float64)
    result = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            values.append(function(*arguments[:position], moved, *arguments[position + 1 :]))
        result[place] = (values[0] - values[1]) / (2 * step)
    return result


def check_gradient(body: Graph, arguments: list[Any], count: int, differentiated: Graph) -> None:
    """The derivatives of `differentiated` against differences of `body`'s result 0."""
    found = run(differentiated, *arguments)

    def loss(*given: Any) -> float:
        return float(run(body, *given)[0])

    np.testing.assert_allclose(found[0], loss(*arguments))
    for k in range(count):
        expected = numeric_gradient(loss, arguments, k)
        np.testing.assert_allclose(found[len(body.results) + k], expected, rtol=1e-5, atol=1e-7)
