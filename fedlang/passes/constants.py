"""What is known when compiling, computed when compiling; detours of moved elements made straight.

In: any graph. Out: the same values, bit for bit. Only identities that are exact in IEEE arithmetic are used: `x * 1`,
`x / 1` and `x - 0`, but not `x + 0` (of minus zero) nor `x * 0` (of infinities), which are for integers only. A `check`
whose condition is known to hold goes; one that is known to fail stays, and fails when it is reached.
"""

from __future__ import annotations

from collections.abc import Callable

from fedlang.ir.graph import Builder, Graph, Node, Tensor
from fedlang.types.dims import Dim
from fedlang.types.dtypes import INTEGERS

from . import emit
from .rewrite import Replacement, deep, graph_of, numbers_of, rebuild, with_attributes
from .scalars import FUNCTIONS, Scalar, compute, convert

Simplify = Callable[[Builder, Node], Replacement | None]


def fold_constants(graph: Graph) -> Graph:
    """The graph with constants computed and detours removed, at every depth."""
    return deep(graph, lambda each: rebuild(each, simplify, _holds))


def simplify(builder: Builder, node: Node) -> Replacement:
    """What a node becomes; itself where nothing simpler is known."""
    known = _computed(builder, node) if node.op in FUNCTIONS else None
    if known is not None:
        return known
    rule = RULES.get(node.op)
    found = rule(builder, node) if rule else None
    return builder.add_node(node) if found is None or _moves(builder, node, found) else found


def _moves(builder: Builder, node: Node, found: Replacement) -> bool:
    """Whether a replacement is at another place: then a result would be at another place than its type says."""
    results = (found,) if isinstance(found, int) else found
    return any(builder.nodes[each].place != node.place for each in results)


def known_value(builder: Builder, index: int) -> Scalar | None:
    """The one value of a tensor that is the same everywhere; None where it is not known."""
    node = builder.nodes[index]
    while node.op == "broadcast":
        node = builder.nodes[node.inputs[0]]
    if node.op != "constant":
        return None
    value = node.attribute("value")
    return value if isinstance(value, bool | int | float) else None


def _holds(builder: Builder, node: Node) -> bool:
    return node.op == "check" and known_value(builder, node.inputs[0]) is True


def _computed(builder: Builder, node: Node) -> int | None:
    values = tuple(value for i in node.inputs if (value := known_value(builder, i)) is not None)
    if len(values) < len(node.inputs):
        return None
    result = compute(node.op, emit.tensor_of(builder, node.inputs[0]).dtype, values, node.tensor.dtype)
    return None if result is None else _full(builder, result, node)


def _full(builder: Builder, value: Scalar, node: Node) -> int:
    type, place = node.tensor, node.place
    scalar = builder.add("constant", (), Tensor(type.dtype), place=place, value=value)
    return builder.add("broadcast", (scalar,), type, place=place, axes=()) if type.shape else scalar


def _is(builder: Builder, index: int, value: float) -> bool:
    return known_value(builder, index) == value


def _add(builder: Builder, node: Node) -> int | None:
    a, b = node.inputs
    if node.tensor.dtype not in INTEGERS:
        return None
    return a if _is(builder, b, 0) else b if _is(builder, a, 0) else None


def _subtract(builder: Builder, node: Node) -> int | None:
    return node.inputs[0] if _is(builder, node.inputs[1], 0) else None


def _multiply(builder: Builder, node: Node) -> int | None:
    a, b = node.inputs
    if node.tensor.dtype in INTEGERS and (_is(builder, a, 0) or _is(builder, b, 0)):
        return _full(builder, 0, node)
    return a if _is(builder, b, 1) else b if _is(builder, a, 1) else None


def _divide(builder: Builder, node: Node) -> int | None:
    return node.inputs[0] if _is(builder, node.inputs[1], 1) else None


def _logical(*, neutral: bool) -> Simplify:
    def rule(builder: Builder, node: Node) -> int | None:
        for one, other in (node.inputs, node.inputs[::-1]):
            value = known_value(builder, one)
            if value is not None:
                return other if value is neutral else one
        return None

    return rule


def _twice(builder: Builder, node: Node) -> int | None:
    """An operation that undoes itself."""
    inner = builder.nodes[node.inputs[0]]
    return inner.inputs[0] if inner.op == node.op and inner.attributes == node.attributes else None


def _select(builder: Builder, node: Node) -> int | None:
    condition, a, b = node.inputs
    value = known_value(builder, condition)
    if value is None:
        return a if a == b else None
    return a if value else b


def _cast(builder: Builder, node: Node) -> int | None:
    x = node.inputs[0]
    type, value = emit.tensor_of(builder, x), known_value(builder, x)
    if type.dtype == node.tensor.dtype:
        return x
    result = None if value is None else convert(value, type.dtype, node.tensor.dtype)
    return None if result is None else _full(builder, result, node)


def _broadcast(builder: Builder, node: Node) -> int | None:
    inner, axes = builder.nodes[node.inputs[0]], numbers_of(node, "axes")
    if inner.type == node.type:
        return node.inputs[0]
    if inner.op != "broadcast":
        return None
    through = tuple(axes[axis] for axis in numbers_of(inner, "axes"))
    return builder.add("broadcast", inner.inputs, node.tensor, place=node.place, axes=through)


def _reshape(builder: Builder, node: Node) -> int | None:
    inner = builder.nodes[node.inputs[0]]
    if inner.type == node.type:
        return node.inputs[0]
    if inner.op != "reshape":
        return None
    return simplify_node(builder, node, inner.inputs)


def _transpose(builder: Builder, node: Node) -> int | None:
    inner, order = builder.nodes[node.inputs[0]], numbers_of(node, "permutation")
    if order == tuple(range(len(order))):
        return node.inputs[0]
    if inner.op != "transpose":
        return None
    before = numbers_of(inner, "permutation")
    moved = with_attributes(node, permutation=tuple(before[axis] for axis in order))
    return simplify_node(builder, moved, inner.inputs)


def simplify_node(builder: Builder, node: Node, inputs: tuple[int, ...]) -> int:
    """As `simplify`, for a node with one result and other inputs."""
    found = simplify(builder, Node(node.op, inputs, node.attributes, node.type, node.place))
    assert isinstance(found, int), "a node with one result becomes one"
    return found


def _matmul(builder: Builder, node: Node) -> int | None:
    """A transposed input is read transposed."""
    inputs, flags = list(node.inputs), [bool(node.attribute("transpose_a")), bool(node.attribute("transpose_b"))]
    for side in (0, 1):
        inner = builder.nodes[inputs[side]]
        if inner.op == "transpose" and _swaps_last(numbers_of(inner, "permutation")):
            inputs[side], flags[side] = inner.inputs[0], not flags[side]
    if tuple(inputs) == node.inputs:
        return None
    moved = with_attributes(node, transpose_a=flags[0], transpose_b=flags[1])
    return simplify_node(builder, moved, tuple(inputs))


def _swaps_last(order: tuple[int, ...]) -> bool:
    rank = len(order)
    return rank >= 2 and order == (*range(rank - 2), rank - 1, rank - 2)


def _reduce(builder: Builder, node: Node) -> int | None:
    return None if node.attribute("axes") else node.inputs[0]


def _whole(builder: Builder, node: Node) -> int | None:
    """A slice of everything, a pad by nothing, one thing put together."""
    x = node.inputs[0]
    return x if len(node.inputs) == 1 and builder.nodes[x].type == node.type else None


def _size(builder: Builder, node: Node) -> int | None:
    dimension = node.attribute("dimension")
    if isinstance(dimension, Dim) or not isinstance(dimension, int):
        return None
    return _full(builder, dimension, node)


def _stack(builder: Builder, node: Node) -> int | None:
    inner = builder.nodes[node.inputs[0]]
    if inner.op != "unstack" or builder.nodes[inner.inputs[0]].type != node.type:
        return None
    return inner.inputs[0]


def _cond(builder: Builder, node: Node) -> Replacement | None:
    value = known_value(builder, node.inputs[0])
    if value is None:
        return None
    return builder.inline(graph_of(node, "then" if value else "otherwise"), node.inputs[1:], place=node.place)


RULES: dict[str, Simplify] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "logical_and": _logical(neutral=True),
    "logical_or": _logical(neutral=False),
    "logical_not": _twice,
    "negate": _twice,
    "reverse": _twice,
    "select": _select,
    "cast": _cast,
    "broadcast": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "matmul": _matmul,
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_product": _reduce,
    "reduce_all": _reduce,
    "reduce_any": _reduce,
    "slice": _whole,
    "pad": _whole,
    "concat": _whole,
    "size": _size,
    "stack": _stack,
    "cond": _cond,
}
