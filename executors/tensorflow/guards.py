"""Rows, checked: TensorFlow would stop the whole chunk, or read the wrong row without a word.

In: a local graph. Out: the same graph with a `check` beside every `gather`, `scatter_add`, `take_along` and
`put_along` whose numbers could be out of range, and every `slice` whose bounds could. As checks, they are batched and
masked like the user's own, so that padding and dead steps raise nothing.
"""

from __future__ import annotations

from fedlang.ir.graph import Builder, Graph, Node, Tensor
from fedlang.passes.rewrite import Replacement, deep, rebuild
from fedlang.types.dims import Dim, Size, subtract

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
    if node.op == "slice":
        _check_bounds(builder, node)
    return builder.add_node(node)


def _check_bounds(builder: Builder, node: Node) -> None:
    given = dict(node.attributes)
    start, stop, axis = given["start"], given["stop"], given["axis"]
    assert isinstance(start, int | Dim)
    assert isinstance(stop, int | Dim)
    assert isinstance(axis, int)
    there = builder.nodes[node.inputs[0]].tensor.shape[axis]
    for low, high in ((0, start), (start, stop), (stop, there)):
        if not _never_negative(subtract(high, low)):
            ordered = builder.add("greater_equal", (_size(builder, high), _size(builder, low)), Tensor(BOOL))
            builder.add_effect("check", (ordered,), message="a bound is out of range", operation=node.op)


def _never_negative(size: Size) -> bool:
    """Whether a difference of sizes is 0 or more, whatever they are."""
    return size >= 0 if isinstance(size, int) else all(factor > 0 for _, factor in size.terms)


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
