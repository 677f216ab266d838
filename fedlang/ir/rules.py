"""How the types of an operation agree: one function a rule, named in the rows of `ir/operations.py`.

A rule gets the node and the types of its inputs and says what is wrong, or "" when nothing is. Sizes agree unless they
surely differ: two names may turn out to be the same number.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from fedlang.ir.graph import Graph, LeafType, Node, NodeType, Sequence, Tensor
from fedlang.types.dims import Size, can_differ
from fedlang.types.dtypes import DTYPES, FLOATS, INTEGERS

Types = tuple[LeafType, ...]
Rule = Callable[[Node, Types], str]
NUMBERS = (*INTEGERS, *FLOATS)
SCALAR_INT = Tensor("int32")


def agree(a: NodeType, b: NodeType) -> bool:
    """Whether two types may be the same: sizes agree unless they surely differ."""
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and sizes_agree(a.shape, b.shape)
    if isinstance(a, Sequence) and isinstance(b, Sequence):
        return agree(a.element, b.element) and not can_differ(a.length, b.length)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(agree, a, b))
    return False


def sizes_agree(a: tuple[Size, ...], b: tuple[Size, ...]) -> bool:
    """Whether two shapes may be the same."""
    return len(a) == len(b) and not any(map(can_differ, a, b))


def element_of(leaf: LeafType) -> Tensor:
    """What a loop over the leaf sees: an element of a sequence, a row of a tensor."""
    return leaf.element if isinstance(leaf, Sequence) else Tensor(leaf.dtype, leaf.shape[1:])


def length_of(leaf: LeafType) -> Size:
    """How many steps a loop over the leaf has."""
    return leaf.length if isinstance(leaf, Sequence) else leaf.shape[0]


def _says(*checks: tuple[bool, str]) -> str:
    return next((text for holds, text in checks if not holds), "")


def _free(node: Node, types: Types) -> str:
    return ""


def _constant(node: Node, types: Types) -> str:
    value = node.attribute("value")
    shown = str(value) if isinstance(value, float) else ""
    return _says((shown != "-0.0", "a constant is minus zero (it would be merged with zero: negate zero)"))


def _get(node: Node, types: Types) -> str:
    return ""  # the verifier compares it with the node it reads


def _same(node: Node, types: Types) -> str:
    return _says((agree(types[0], node.type), "the result is of another type than the input"))


def _equal_inputs(types: Types) -> tuple[bool, str]:
    return all(agree(types[0], each) for each in types), "the inputs are of different types"


def _elementwise(dtypes: tuple[str, ...], result: str = "") -> Rule:
    def rule(node: Node, types: Types) -> str:
        first = types[0]
        if not isinstance(first, Tensor):
            return "an input is no tensor"
        wanted = Tensor(result or first.dtype, first.shape)
        return _says(
            _equal_inputs(types),
            (first.dtype in dtypes, f"the inputs are {first.dtype}"),
            (agree(node.type, wanted), "the result has another dtype or shape than it should"),
        )

    return rule


def _select(node: Node, types: Types) -> str:
    condition, first = types[0], types[1]
    shape = first.shape if isinstance(first, Tensor) else ()
    return _says(
        _equal_inputs(types[1:]),
        (agree(condition, Tensor("bool", shape)), "the condition is no bool of the same shape"),
        (agree(node.type, first), "the result is of another type than the choices"),
    )


def _tensors(check: Callable[..., str]) -> Rule:
    """A rule over tensors only: `check(node, result, *inputs)`."""

    def rule(node: Node, types: Types) -> str:
        tensors = [each for each in types if isinstance(each, Tensor)]
        if len(tensors) != len(types) or not isinstance(node.type, Tensor):
            return "an input or the result is no tensor"
        return check(node, node.type, *tensors)

    return rule


def _integers(node: Node, name: str) -> tuple[int, ...]:
    value = node.attribute(name)
    found = value if isinstance(value, tuple) else (value,)
    return tuple(each for each in found if isinstance(each, int))


def _axis(node: Node, name: str = "axis") -> int:
    return _integers(node, name)[0]


def _cast(node: Node, result: Tensor, x: Tensor) -> str:
    return _says((sizes_agree(x.shape, result.shape), "the result has another shape than the input"))


def _broadcast(node: Node, result: Tensor, x: Tensor) -> str:
    axes = _integers(node, "axes")
    increasing = all(a < b for a, b in pairwise(axes))
    if len(axes) != len(x.shape) or not increasing or any(not 0 <= axis < len(result.shape) for axis in axes):
        return "the axes do not place the input's axes in the result's"
    fits = all(size == 1 or not can_differ(size, result.shape[axis]) for size, axis in zip(x.shape, axes, strict=True))
    return _says((fits, "an axis does not fit the result"), (x.dtype == result.dtype, "the dtype changes"))


def _reduce(dtypes: tuple[str, ...]) -> Rule:
    def check(node: Node, result: Tensor, x: Tensor) -> str:
        axes = _integers(node, "axes")
        kept = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
        return _says(
            (all(0 <= axis < len(x.shape) for axis in axes), "an axis is not one of the input's"),
            (x.dtype in dtypes, f"the input is {x.dtype}"),
            (agree(result, Tensor(x.dtype, kept)), "the result is not the input without the axes"),
        )

    return _tensors(check)


def _arg_reduce(node: Node, result: Tensor, x: Tensor) -> str:
    axis = _axis(node)
    kept = (*x.shape[:axis], *x.shape[axis + 1 :])
    return _says((agree(result, Tensor("int32", kept)), "the result is no int32 without the axis"))


def _arg_sort(node: Node, result: Tensor, x: Tensor) -> str:
    return _says((agree(result, Tensor("int32", x.shape)), "the result is no int32 of the input's shape"))


def _cross_entropy(node: Node, result: Tensor, logits: Tensor, labels: Tensor) -> str:
    rows = logits.shape[:-1]
    return _says(
        (agree(labels, Tensor("int32", rows)), "the labels are no int32 of the rows' shape"),
        (agree(result, Tensor(logits.dtype, rows)), "the result has not the rows' shape"),
    )


def _transpose(node: Node, result: Tensor, x: Tensor) -> str:
    order = _integers(node, "permutation")
    if sorted(order) != list(range(len(x.shape))):
        return "the permutation is none of the input's axes"
    return _says((agree(result, Tensor(x.dtype, tuple(x.shape[k] for k in order))), "the result is not so permuted"))


def _resized(node: Node, result: Tensor, x: Tensor) -> str:
    axis = _axis(node)
    rest = (*x.shape[:axis], *x.shape[axis + 1 :]), (*result.shape[:axis], *result.shape[axis + 1 :])
    same = x.dtype == result.dtype and 0 <= axis < len(x.shape) == len(result.shape) and sizes_agree(*rest)
    return _says((same, "more than the axis differs from the input"))


def _reshape(node: Node, result: Tensor, x: Tensor) -> str:
    return _says((x.dtype == result.dtype, "the dtype changes"))


def _concat(node: Node, result: Tensor, *parts: Tensor) -> str:
    return next((text for part in parts if (text := _resized(node, result, part))), "")


def _one_hot(node: Node, result: Tensor, index: Tensor) -> str:
    return _says((sizes_agree(result.shape[:-1], index.shape), "the result is not the index with one more axis"))


def _gather(node: Node, result: Tensor, x: Tensor, index: Tensor) -> str:
    return _says(
        (index.dtype == "int32", "the index is no int32"),
        (agree(result, Tensor(x.dtype, (*index.shape, *x.shape[1:]))), "the result is not the index's shape of rows"),
    )


def _scatter_add(node: Node, result: Tensor, index: Tensor, updates: Tensor) -> str:
    wanted = Tensor(result.dtype, (*index.shape, *result.shape[1:]))
    return _says((index.dtype == "int32", "the index is no int32"), (agree(updates, wanted), "the updates are no rows"))


def _take_along(node: Node, result: Tensor, x: Tensor, index: Tensor) -> str:
    return _says((agree(result, Tensor(x.dtype, index.shape)), "the result has not the index's shape"))


def _put_along(node: Node, result: Tensor, index: Tensor, updates: Tensor) -> str:
    return _says((agree(updates, Tensor(result.dtype, index.shape)), "the updates have not the index's shape"))


def _matmul(node: Node, result: Tensor, a: Tensor, b: Tensor) -> str:
    if len(a.shape) < 2 or len(a.shape) != len(b.shape):
        return "the inputs are no matrices of equal rank"
    (m, k), (inner, n) = a.shape[-2:], b.shape[-2:]
    m, k = (k, m) if node.attribute("transpose_a") else (m, k)
    inner, n = (n, inner) if node.attribute("transpose_b") else (inner, n)
    return _says(
        (a.dtype == b.dtype, "the inputs are of different dtypes"),
        (not can_differ(k, inner), "the inner sizes differ"),
        (sizes_agree(a.shape[:-2], b.shape[:-2]), "the leading axes differ"),
        (agree(result, Tensor(a.dtype, (*a.shape[:-2], m, n))), "the result has another shape than the product"),
    )


def _image(node: Node, result: Tensor, *inputs: Tensor) -> str:
    return _says((all(len(each.shape) == 4 for each in (result, *inputs)), "an input or the result has not four axes"))


def _random_at(node: Node, result: Tensor, key: Tensor, index: Tensor) -> str:
    return _says(
        (key.dtype == "Key" and result.dtype == "Key", "the input or the result is no key"),
        (index.dtype in INTEGERS, "the index is no integer"),
    )


def _draw(node: Node, result: Tensor, key: Tensor) -> str:
    return _says((key == Tensor("Key"), "the input is no key"))


def _sequence(node: Node, types: Types) -> str:
    return _says((isinstance(types[0], Sequence) and isinstance(node.type, Sequence), "this works on sequences"))


def _stack(node: Node, types: Types) -> str:
    first = types[0]
    if not isinstance(first, Sequence):
        return "the input is no sequence"
    wanted = Tensor(first.element.dtype, (first.length, *first.element.shape))
    return _says((agree(node.type, wanted), "the result is not the elements stacked"))


def _unstack(node: Node, types: Types) -> str:
    first = types[0]
    if not isinstance(first, Tensor) or not first.shape:
        return "the input is no tensor with a first axis"
    wanted = Sequence(element_of(first), first.shape[0])
    return _says((agree(node.type, wanted), "the result is not the input's rows"))


def _count_to(node: Node, types: Types) -> str:
    length = node.type.length if isinstance(node.type, Sequence) else 0
    return _says((agree(node.type, Sequence(SCALAR_INT, length)), "the result is no sequence of int32"))


def _graph(node: Node, name: str) -> Graph:
    graph = node.attribute(name)
    assert isinstance(graph, Graph), f"the attribute {name} of {node.op} is no graph"
    return graph


def _parts(node: Node, types: Types) -> tuple[Types, Types, Types] | None:
    """Captured values, carries and what is looped over; None where there are not so many inputs."""
    captured = _axis(node, "captured")
    carries = _axis(node, "carries") if node.op == "fold" else 0
    over = types[captured + carries :]
    if not over or any(isinstance(each, Tensor) and not each.shape for each in over):
        return None
    return types[:captured], types[captured : captured + carries], over


def _fold(node: Node, types: Types) -> str:
    parts, body = _parts(node, types), _graph(node, "body")
    if parts is None:
        return "there is nothing to loop over"
    captured, carries, over = parts
    count, results, length = len(carries), body.result_types(), length_of(over[0])
    stacked = tuple(Tensor(each.dtype, (length, *each.shape)) for each in results[count:] if isinstance(each, Tensor))
    return _says(
        (
            agree(body.parameter_types(), (*captured, *carries, *map(element_of, over))),
            "the body's parameters disagree",
        ),
        (agree(results[:count], carries), "the body's carries are of other types than they start with"),
        (len(stacked) == len(results) - count, "an output is no tensor"),
        (isinstance(node.type, tuple), "a fold's type is a tuple"),
        (agree(node.type, (*carries, *stacked)), "the results are not the carries and the outputs stacked"),
    )


def _map(node: Node, types: Types) -> str:
    parts, body = _parts(node, types), _graph(node, "body")
    if parts is None or not isinstance(node.type, Sequence):
        return "there is no sequence"
    captured, _, over = parts
    return _says(
        (agree(body.parameter_types(), (*captured, *map(element_of, over))), "the body's parameters disagree"),
        (agree(body.result_types(), (node.type.element,)), "the body's result is no element of the result"),
    )


def _cond(node: Node, types: Types) -> str:
    checks = [(types[0] == Tensor("bool"), "the predicate is no bool scalar")]
    for name in ("then", "otherwise"):
        branch = _graph(node, name)
        checks.append((agree(branch.parameter_types(), types[1:]), f"the parameters of `{name}` disagree"))
        checks.append((agree(branch.result_types(), node.type), f"the results of `{name}` disagree"))
    return _says(*checks)


def _call(node: Node, types: Types) -> str:
    body = _graph(node, "body")
    return _says(
        (agree(body.parameter_types(), types), "the body's parameters disagree with the arguments"),
        (agree(body.result_types(), node.type), "the body's results disagree (the type is a tuple)"),
    )


def is_float(leaf: LeafType) -> bool:
    """Whether a leaf is a tensor of floats: what has derivatives."""
    return isinstance(leaf, Tensor) and leaf.dtype in FLOATS


def _gradient(node: Node, types: Types) -> str:
    body, count = _graph(node, "body"), _axis(node, "count")
    results = body.result_types()
    kept = results if node.attribute("value") else ()
    loss = results[0] if results else None
    return _says(
        (isinstance(loss, Tensor) and is_float(loss) and not loss.shape, "the body's result 0 is no float scalar"),
        (all(map(is_float, types[:count])), "a derivative is asked by something that is no float tensor"),
        (agree(body.parameter_types(), types), "the body's parameters disagree with the arguments"),
        (agree(node.type, (*kept, *types[:count])), "the results are not the body's and the derivatives"),
    )


def _check(node: Node, types: Types) -> str:
    return _says((types[0] == Tensor("bool"), "the condition is no bool scalar"), (node.type == (), "it has a result"))


def _effect(node: Node, types: Types) -> str:
    return _says((node.type == (), "it has a result"))


def _mean(node: Node, types: Types) -> str:
    return _says(
        (agree(node.type, types[0]), "the result is of another type than the values"),
        (is_float(types[0]), "the values are no floats"),
        (isinstance(types[1], Tensor) and types[1].shape == (), "the weight is no scalar"),
    )


def _collect(node: Node, types: Types) -> str:
    element = node.type.element if isinstance(node.type, Sequence) else None
    return _says((element is not None and agree(element, types[0]), "the result is no sequence of the values"))


def _aggregate(node: Node, types: Types) -> str:
    count = _axis(node, "captured")
    captured, values = types[:count], types[count:]
    zero, accumulate, merge, report = (_graph(node, name) for name in ("zero", "accumulate", "merge", "report"))
    state = zero.result_types()
    return _says(
        (agree(zero.parameter_types(), captured), "the parameters of zero disagree"),
        (agree(accumulate.parameter_types(), (*captured, *state, *values)), "the parameters of accumulate disagree"),
        (agree(accumulate.result_types(), state), "accumulate gives another state"),
        (agree(merge.parameter_types(), (*captured, *state, *state)), "the parameters of merge disagree"),
        (agree(merge.result_types(), state), "merge gives another state"),
        (agree(report.parameter_types(), (*captured, *state)), "the parameters of report disagree"),
        (agree(report.result_types(), node.type), "report's results disagree"),
    )


RULES: dict[str, Rule] = {
    "free": _free,
    "constant": _constant,
    "get": _get,
    "same": _same,
    "index_scalar": lambda node, types: _says((node.type == SCALAR_INT, "the result is no int32 scalar")),
    "number": _elementwise(NUMBERS),
    "float": _elementwise(FLOATS),
    "logic": _elementwise(("bool",)),
    "compare": _elementwise(DTYPES, "bool"),
    "float_test": _elementwise(FLOATS, "bool"),
    "select": _select,
    "cast": _tensors(_cast),
    "broadcast": _tensors(_broadcast),
    "reduce_number": _reduce(NUMBERS),
    "reduce_logic": _reduce(("bool",)),
    "arg_reduce": _tensors(_arg_reduce),
    "arg_sort": _tensors(_arg_sort),
    "cross_entropy": _tensors(_cross_entropy),
    "transpose": _tensors(_transpose),
    "reshape": _tensors(_reshape),
    "slice": _tensors(_resized),
    "pad": _tensors(_resized),
    "concat": _tensors(_concat),
    "one_hot": _tensors(_one_hot),
    "gather": _tensors(_gather),
    "scatter_add": _tensors(_scatter_add),
    "take_along": _tensors(_take_along),
    "put_along": _tensors(_put_along),
    "matmul": _tensors(_matmul),
    "image": _tensors(_image),
    "random_at": _tensors(_random_at),
    "draw": _tensors(_draw),
    "sequence": _sequence,
    "stack": _stack,
    "unstack": _unstack,
    "count_to": _count_to,
    "map": _map,
    "fold": _fold,
    "cond": _cond,
    "call": _call,
    "gradient": _gradient,
    "check": _check,
    "effect": _effect,
    "mean": _mean,
    "collect": _collect,
    "aggregate": _aggregate,
    "select_rows": _tensors(lambda node, result, keys, x: _gather(node, result, x, keys)),
}
