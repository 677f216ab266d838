"""Rows, checked: TensorFlow would stop the whole chunk, or read the wrong row without a word.

In: a local graph. Out: the same graph with a `check` beside every `gather`, `scatter_add`, `take_along` and
`put_along` whose numbers could be out of range. As checks, they are batched and masked like the user's own, so that
padding and dead steps raise nothing.
"""

from __future__ import annotations

from fedlang.ir.graph import Builder, Graph, Node, Tensor
from fedlang.passes.rewrite import Replacement, deep, rebuild
from fedlang.types.dims import Size

# Where an operation has its numbers: which input; the tensor whose axis they count is input 0, or the result.
INDEX = {"gather": 1, "scatter_add": 0, "take_along": 1, "put_along": 0}
ALWAYS_INSIDE = ("arg_max", "arg_min", "arg_sort", "random_permutation")
BOOL, INT = "bool", "int32"


def guard_rows(graph: Graph) -> Graph:
    """The graph with its checks, at every depth."""
    return deep(graph, lambda each: rebuild(each, _guarded))


def _guarded(builder: Builder, node: Node) -> Replacement:
    if node.op in INDEX and builder.nodes[node.inputs[INDEX[node.op]]].op not in ALWAYS_INSIDE:
        _check(builder, node, node.inputs[INDEX[node.op]])
    return builder.add_node(node)


def _check(builder: Builder, node: Node, index: int) -> None:
    shape = builder.nodes[index].tensor.shape
    counted = node.tensor if INDEX[node.op] == 0 else builder.nodes[node.inputs[0]].tensor
    axis = dict(node.attributes).get("axis", 0)
    assert isinstance(axis, int)
    zero = builder.add("constant", (), Tensor(INT), value=0)
    low = _compare(builder, "greater_equal", index, zero, shape)
    high = _compare(builder, "less", index, _size(builder, counted.shape[axis]), shape)
    inside = builder.add("logical_and", (low, high), Tensor(BOOL, shape))
    if shape:
        inside = builder.add("reduce_all", (inside,), Tensor(BOOL), axes=tuple(range(len(shape))))
    builder.add_effect("check", (inside,), message="an index is out of range", operation=node.op)


def _compare(builder: Builder, op: str, index: int, bound: int, shape: tuple[Size, ...]) -> int:
    spread = builder.add("broadcast", (bound,), Tensor(INT, shape), axes=()) if shape else bound
    return builder.add(op, (index, spread), Tensor(BOOL, shape))


def _size(builder: Builder, size: Size) -> int:
    if isinstance(size, int):
        return builder.add("constant", (), Tensor(INT), value=size)
    return builder.add("size", (), Tensor(INT), dimension=size)
