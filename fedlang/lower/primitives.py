"""Primitives to operations: for each a function from values to nodes, in tables by group.

An elementwise primitive needs no row: it is the operation of its name on each leaf, once shapes meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fedlang.check.typed import Checked
from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Attribute, LeafType, Sequence, Tensor
from fedlang.lower import errors
from fedlang.lower.evaluate import Lowerer, element_of
from fedlang.lower.leaves import name_unknowns, result_tensors, shape_value
from fedlang.lower.values import Leaf, RecordValue, TupleValue, Value, leaves_of, map_leaves, rebuild, reordered
from fedlang.syntax import tree
from fedlang.types.dims import Named, Size, add, can_differ, divide, fresh_named, product, subtract
from fedlang.types.substitute import Substitution, substitute
from fedlang.types.types import TensorType, Type, TypeVariable, print_shape

OPERATION_OF = {"at": "random_at", "max": "maximum", "min": "minimum", "pow": "power", "where": "select"}


@dataclass(frozen=True, slots=True)
class Use:
    """One call of a primitive: who lowers, what it is, and its arguments in order."""

    lower: Lowerer
    name: str
    checked: Checked
    instance: Substitution
    arguments: tuple[Value | None, ...]
    spread: tuple[bool, ...]
    result: Type

    def leaf(self, index: int) -> Leaf:
        """An argument that is one leaf."""
        value = self.arguments[index]
        assert isinstance(value, Leaf), f"argument {index} of {self.name} is one leaf"
        return value

    def tensor(self, index: int) -> Tensor:
        """The type of an argument that is one tensor."""
        type = self.leaf(index).type
        assert isinstance(type, Tensor), f"argument {index} of {self.name} is a tensor"
        return type

    def value(self, index: int) -> Value:
        """An argument that is given."""
        value = self.arguments[index]
        assert value is not None, f"argument {index} of {self.name} is given"
        return value

    def static(self, name: str) -> Size | None:
        """A parameter that is known when compiling; None where it was left out."""
        for atom, size in self.instance.sizes.items():
            if isinstance(atom, Named) and atom.name == name:
                return size
        return None

    def static_shape(self, name: str) -> tuple[Size, ...]:
        """A list of sizes that is known when compiling."""
        for variable, shape in self.instance.packs.items():
            if isinstance(variable, TypeVariable) and variable.name == name:
                return tuple(size for size in shape if isinstance(size, int) or not hasattr(size, "pack"))
        raise AssertionError(f"{name} of {self.name} is known")

    def number(self, name: str) -> int:
        """A parameter that is known to be a number."""
        found = self.static(name)
        assert isinstance(found, int), f"{name} of {self.name} is a number"
        return found


Rule: TypeAlias = Callable[[Use], Value]


def lower_primitive(
    lower: Lowerer,
    checked: Checked,
    instance: Substitution,
    arguments: tuple[Value | None, ...],
    spread: tuple[bool, ...],
    result: Type | None,
) -> Value:
    """The value of a call of a primitive."""
    assert isinstance(checked.declaration, tree.PrimitiveDeclaration)
    group = checked.declaration.group.text
    name = f"random_{checked.symbol.name}" if group == "random" else checked.symbol.name
    use = Use(lower, name, checked, instance, arguments, spread, result or substitute(checked.type, instance))
    if name in RULES:
        return RULES[name](use)
    assert group in GROUPS, f"the compiler knows no group `{group}`"
    return GROUPS[group](use)


# ---- elementwise ----


def _elementwise(use: Use) -> Value:
    """Leaf by leaf over the structure; scalars beside it are spread."""
    structure = next((a for a in use.arguments if isinstance(a, RecordValue | TupleValue)), None)
    if structure is None:
        return elementwise_leaf(use, tuple(use.leaf(k) for k in range(len(use.arguments))))
    count = len(list(leaves_of(structure)))
    columns = [[a] * count if isinstance(a, Leaf) else list(leaves_of(_given(a))) for a in use.arguments]
    made = [elementwise_leaf(use, row) for row in zip(*columns, strict=True)]
    return rebuild(structure, iter(made))


def _given(value: Value | None) -> Value:
    assert value is not None, "an elementwise operation has all its arguments"
    return value


def elementwise_leaf(use: Use, operands: tuple[Leaf, ...]) -> Leaf:
    """One operation on tensors: dtypes met, shapes joined."""
    fixed = [_fixed_dtype(parameter.type) for parameter in use.checked.parameters]
    spread = use.spread or (False,) * len(operands)
    shared = [leaf for leaf, f, s in zip(operands, fixed, spread, strict=True) if not f and not s]
    dtype = _tensor(shared[0]).dtype if shared else ""
    met = [
        use.lower.emit("cast", (leaf,), Tensor(dtype, _tensor(leaf).shape))
        if s and _tensor(leaf).dtype != dtype
        else leaf
        for leaf, s in zip(operands, spread, strict=True)
    ]
    shape: tuple[Size, ...] = ()
    for leaf in met:
        shape = join(use, shape, _tensor(leaf).shape)
    inputs = tuple(use.lower.broadcast(leaf, shape) for leaf in met)
    result = _fixed_dtype(use.checked.type) or dtype
    return use.lower.emit(OPERATION_OF.get(use.name, use.name), inputs, Tensor(result, shape))


def _fixed_dtype(type: Type) -> str:
    return type.dtype if isinstance(type, TensorType) and isinstance(type.dtype, str) else ""


def _tensor(leaf: Leaf) -> Tensor:
    assert isinstance(leaf.type, Tensor), "a tensor"
    return leaf.type


def join(use: Use, a: tuple[Size, ...], b: tuple[Size, ...]) -> tuple[Size, ...]:
    """Shapes that meet: trailing axes aligned, a 1 stretched."""
    if len(a) < len(b):
        a, b = b, a
    lead = len(a) - len(b)
    tail = []
    for m, n in zip(a[lead:], b, strict=True):
        if m != 1 and n != 1 and can_differ(m, n):
            raise DiagnosticError(errors.shapes_differ(use.lower.level.builder.span, print_shape(a), print_shape(b)))
        tail.append(n if m == 1 or (n != 1 and isinstance(n, int)) else m)
    return a[:lead] + tuple(tail)


def _cast(use: Use) -> Value:
    dtype = result_tensors(TensorType(_dtype_of(use), ()))[0].dtype
    return map_leaves(use.value(0), lambda leaf: cast(use.lower, leaf, dtype))


def _dtype_of(use: Use) -> str:
    for variable, found in use.instance.types.items():
        if isinstance(variable, TypeVariable) and variable.name == "U":
            dtype = found.dtype if isinstance(found, TensorType) else found
            assert isinstance(dtype, str), "the dtype of a cast is known"
            return dtype
    raise AssertionError("a cast has a dtype")


def cast(lower: Lowerer, leaf: Leaf, dtype: str) -> Leaf:
    """The leaf as another dtype."""
    if _tensor(leaf).dtype == dtype:
        return leaf
    return lower.emit("cast", (leaf,), Tensor(dtype, _tensor(leaf).shape))


# ---- reductions ----


def _axes(use: Use) -> tuple[int, ...]:
    axis, rank = use.static("axis"), len(use.tensor(0).shape)
    if axis is None:
        return tuple(range(rank))
    assert isinstance(axis, int), "an axis is a number"
    return (axis % rank,)


def _reduction(use: Use) -> Value:
    return reduce(use.lower, use.name, use.leaf(0), _axes(use))


def reduce(lower: Lowerer, op: str, leaf: Leaf, axes: tuple[int, ...]) -> Leaf:
    """A reduction over some axes."""
    kind = _tensor(leaf)
    if not axes:
        return leaf
    shape = tuple(size for k, size in enumerate(kind.shape) if k not in axes)
    return lower.emit(op, (leaf,), Tensor(kind.dtype, shape), axes=axes)


def _reduce_mean(use: Use) -> Value:
    axes, kind = _axes(use), use.tensor(0)
    total = reduce(use.lower, "reduce_sum", use.leaf(0), axes)
    count = use.lower.size(product(tuple(kind.shape[k] for k in axes)))
    divisor = use.lower.broadcast(cast(use.lower, count, kind.dtype), _tensor(total).shape)
    return use.lower.emit("divide", (total, divisor), _tensor(total))


def _arg(use: Use) -> Value:
    (axis,) = _axes(use)
    shape = use.tensor(0).shape
    return use.lower.emit(use.name, (use.leaf(0),), Tensor("int32", shape[:axis] + shape[axis + 1 :]), axis=axis)


def _along(use: Use) -> Value:
    kind = use.tensor(0)
    return use.lower.emit(use.name, (use.leaf(0),), kind, axis=_literal(use, 1, "axis") % len(kind.shape))


def _literal(use: Use, index: int, name: str) -> int:
    """An argument that no type mentions and that must be written as a number all the same."""
    node = use.leaf(index).node
    value = node.attribute("value") if node.op == "constant" else None
    if not isinstance(value, int):
        raise DiagnosticError(errors.not_literal(use.lower.level.builder.span, name))
    return value


def _softmax(use: Use) -> Value:
    return use.lower.emit(use.name, (use.leaf(0),), use.tensor(0))


def _cross_entropy(use: Use) -> Value:
    kind = use.tensor(0)
    return use.lower.emit(use.name, (use.leaf(0), use.leaf(1)), Tensor(kind.dtype, kind.shape[:-1]))


# ---- structure ----


def _transpose(use: Use) -> Value:
    order = tuple(axis for axis in use.static_shape("permutation") if isinstance(axis, int))
    kind = use.tensor(0)
    return use.lower.emit(
        "transpose", (use.leaf(0),), Tensor(kind.dtype, tuple(kind.shape[k] for k in order)), permutation=order
    )


def reshape(lower: Lowerer, leaf: Leaf, shape: tuple[Size, ...]) -> Leaf:
    """The same numbers in another shape."""
    kind = _tensor(leaf)
    if kind.shape == shape:
        return leaf
    if can_differ(product(kind.shape), product(shape)):
        raise DiagnosticError(
            errors.shapes_differ(lower.level.builder.span, print_shape(kind.shape), print_shape(shape))
        )
    lower.require_equal(product(kind.shape), product(shape))
    return lower.emit("reshape", (leaf,), Tensor(kind.dtype, shape))


def _reshape(use: Use) -> Value:
    return reshape(use.lower, use.leaf(0), use.static_shape("shape"))


def _expand(use: Use) -> Value:
    kind = use.tensor(0)
    at = use.number("axis") % (len(kind.shape) + 1)
    axes = tuple(k for k in range(len(kind.shape) + 1) if k != at)
    return use.lower.broadcast(use.leaf(0), (*kind.shape[:at], 1, *kind.shape[at:]), axes)


def _flatten(use: Use) -> Value:
    shape = use.tensor(0).shape
    return reshape(use.lower, use.leaf(0), (shape[0], product(shape[1:])))


def _concat(use: Use) -> Value:
    a, b = use.tensor(0), use.tensor(1)
    shape = (add(a.shape[0], b.shape[0]), *a.shape[1:])
    return use.lower.emit("concat", (use.leaf(0), use.leaf(1)), Tensor(a.dtype, shape), axis=0)


def _first_axis(use: Use) -> Value:
    return map_leaves(use.value(0), lambda leaf: use.lower.emit(use.name, (leaf,), leaf.type, axis=0))


def _arg_sort(use: Use) -> Value:
    return use.lower.emit("arg_sort", (use.leaf(0),), Tensor("int32", use.tensor(0).shape), axis=0)


def _range(use: Use) -> Value:
    size = use.static("n")
    assert size is not None, "a range has an end"
    return use.lower.emit("iota", (), Tensor("int32", (size,)), axis=0)


def _one_hot(use: Use) -> Value:
    depth = use.static("depth")
    assert depth is not None, "one_hot has a depth"
    return use.lower.emit("one_hot", (use.leaf(0),), Tensor("int32", (*use.tensor(0).shape, depth)))


def _gather(use: Use) -> Value:
    x, index = use.tensor(0), use.tensor(1)
    return use.lower.emit("gather", (use.leaf(0), use.leaf(1)), Tensor(x.dtype, index.shape + x.shape[1:]))


def _scatter_add(use: Use) -> Value:
    added = use.lower.emit("scatter_add", (use.leaf(1), use.leaf(2)), use.tensor(0))
    return use.lower.emit("add", (use.leaf(0), added), use.tensor(0))


# ---- products ----


def _matmul(use: Use) -> Value:
    a, b = use.leaf(0), use.leaf(1)
    vector_a, vector_b = len(_tensor(a).shape) == 1, len(_tensor(b).shape) == 1
    if vector_a:
        a = reshape(use.lower, a, (1, *_tensor(a).shape))
    if vector_b:
        b = reshape(use.lower, b, (*_tensor(b).shape, 1))
    result = _stacked_matmul(use, a, b)
    shape = _tensor(result).shape
    shape = shape[:-1] if vector_b else shape
    if vector_a:
        shape = shape[:-1] if vector_b else (*shape[:-2], shape[-1])
    return reshape(use.lower, result, shape)


def _stacked_matmul(use: Use, a: Leaf, b: Leaf) -> Leaf:
    """Leading axes: folded into the rows where only the left side has them, else repeated until they agree."""
    left, right = _tensor(a), _tensor(b)
    if len(right.shape) == 2 and len(left.shape) > 2:
        rows = reshape(use.lower, a, (product(left.shape[:-1]), left.shape[-1]))
        flat = _plain_matmul(use, rows, b)
        return reshape(use.lower, flat, (*left.shape[:-1], right.shape[-1]))
    lead = join(use, left.shape[:-2], right.shape[:-2])
    return _plain_matmul(
        use, use.lower.broadcast(a, (*lead, *left.shape[-2:])), use.lower.broadcast(b, (*lead, *right.shape[-2:]))
    )


def _plain_matmul(use: Use, a: Leaf, b: Leaf) -> Leaf:
    shape = (*_tensor(a).shape[:-1], _tensor(b).shape[-1])
    return use.lower.emit("matmul", (a, b), Tensor(_tensor(a).dtype, shape), transpose_a=False, transpose_b=False)


def _conv2d(padding: str) -> Rule:
    def rule(use: Use) -> Value:
        (n, h, w, _), (p, q, _, o) = use.tensor(0).shape, use.tensor(1).shape
        stride = use.number("stride")
        if padding == "valid":
            h, w = (add(subtract(size, window), 1) for size, window in ((h, p), (w, q)))
        shape = (n, divide(h, stride, "ceil"), divide(w, stride, "ceil"), o)
        type = Tensor(use.tensor(0).dtype, shape)
        return use.lower.emit("conv2d", (use.leaf(0), use.leaf(1)), type, strides=(stride, stride), padding=padding)

    return rule


def _pool(use: Use) -> Value:
    n, h, w, c = use.tensor(0).shape
    size = use.number("size")
    type = Tensor(use.tensor(0).dtype, (n, divide(h, size, "floor"), divide(w, size, "floor"), c))
    window: Attribute = (size, size)
    return use.lower.emit(use.name, (use.leaf(0),), type, size=window, strides=window, padding="valid")


# ---- whole structures ----


def _filled(number: int) -> Rule:
    def rule(use: Use) -> Value:
        type = name_unknowns(use.result)
        return shape_value(type, [use.lower.full(number, kind) for kind in result_tensors(type)])

    return rule


def _filled_like(number: int) -> Rule:
    return lambda use: map_leaves(use.value(0), lambda leaf: use.lower.full(number, leaf.type))


def _over_leaves(first: tuple[str, ...], reduction: str, join_op: str, dtype: str, start: bool | float) -> Rule:
    """A number for all leaves together: operations on each leaf, a reduction, then `join_op` between leaves."""

    def rule(use: Use) -> Value:
        result: Leaf | None = None
        for leaf in leaves_of(use.value(0)):
            for op in first:
                kind = Tensor("bool" if op == "is_finite" else _tensor(leaf).dtype, _tensor(leaf).shape)
                leaf = use.lower.emit(op, (leaf,), kind)
            leaf = cast(use.lower, leaf, dtype)
            leaf = reduce(use.lower, reduction, leaf, tuple(range(len(_tensor(leaf).shape))))
            result = leaf if result is None else use.lower.emit(join_op, (result, leaf), Tensor(dtype))
        known = use.lower.constant(start, dtype)
        if result is None:
            return known
        sizes = [size for leaf in leaves_of(use.value(0)) for size in _tensor(leaf).shape]
        if reduction == "reduce_max" and any(not isinstance(size, int) or size == 0 for size in sizes):
            return use.lower.emit(join_op, (result, known), Tensor(dtype))  # the largest of none is -inf
        return result

    return rule


# ---- random ----


def _random(op: str) -> Rule:
    """Draws for each leaf, from the key itself, or for several leaves from keys that derive from it."""

    def rule(use: Use) -> Value:
        type = name_unknowns(use.result)
        kinds = result_tensors(type)
        drawn = [use.lower.emit(op, (_key_for(use, k, len(kinds)),), kind) for k, kind in enumerate(kinds)]
        return shape_value(type, drawn)

    return rule


def _key_for(use: Use, index: int, count: int) -> Leaf:
    key = use.leaf(0)
    if count == 1:
        return key
    return use.lower.emit("random_at", (key, use.lower.constant(index, "int32")), Tensor("Key"))


def _uniform(use: Use) -> Value:
    drawn = _random("random_uniform")(use)
    if use.arguments[1] is None and use.arguments[2] is None:
        return drawn
    low = use.lower.constant(0.0, "float32") if use.arguments[1] is None else use.leaf(1)
    high = use.lower.constant(1.0, "float32") if use.arguments[2] is None else use.leaf(2)
    width = use.lower.emit("subtract", (high, low), Tensor("float32"))

    def scaled(leaf: Leaf) -> Leaf:
        kind = _tensor(leaf)
        by, start = (use.lower.broadcast(cast(use.lower, part, kind.dtype), kind.shape) for part in (width, low))
        return use.lower.emit("add", (use.lower.emit("multiply", (leaf, by), kind), start), kind)

    return map_leaves(drawn, scaled)


def _random_key(use: Use) -> Value:
    return use.lower.emit(
        "random_at", (use.lower.emit("constant", (), Tensor("Key"), value=(0, 0)), use.leaf(0)), Tensor("Key")
    )


def _permutation(use: Use) -> Value:
    size = use.static("n")
    assert size is not None, "a permutation has a size"
    return use.lower.emit("random_permutation", (use.leaf(0),), Tensor("int32", (size,)))


# ---- sequences ----


def _sequence(leaf: Leaf) -> Sequence:
    assert isinstance(leaf.type, Sequence), "a sequence"
    return leaf.type


def _resized(op: str, *, key_first: bool = False) -> Rule:
    """A sequence of the same elements, in another order or number."""

    def rule(use: Use) -> Value:
        values, argument = (use.value(1), use.leaf(0)) if key_first else (use.value(0), use.leaf(1))
        length = fresh_named("length")

        def one(leaf: Leaf) -> Leaf:
            kept = _sequence(leaf).length if op == "shuffle" else length
            return use.lower.emit(op, (leaf, argument), Sequence(_sequence(leaf).element, kept))

        return map_leaves(values, one)

    return rule


def _batch(use: Use) -> Value:
    size, length = fresh_named("batch"), fresh_named("length")

    def one(leaf: Leaf) -> Leaf:
        element = _sequence(leaf).element
        return use.lower.emit(
            "batch", (leaf, use.leaf(1)), Sequence(Tensor(element.dtype, (size, *element.shape)), length)
        )

    return map_leaves(use.value(0), one)


def _stack(use: Use) -> Value:
    def one(leaf: Leaf) -> Leaf:
        kind = _sequence(leaf)
        return use.lower.emit("stack", (leaf,), Tensor(kind.element.dtype, (kind.length, *kind.element.shape)))

    return map_leaves(use.value(0), one)


def _unstack(use: Use) -> Value:
    def one(leaf: Leaf) -> Leaf:
        kind = _tensor(leaf)
        return use.lower.emit("unstack", (leaf,), Sequence(Tensor(kind.dtype, kind.shape[1:]), kind.shape[0]))

    return map_leaves(use.value(0), one)


def _length(use: Use) -> Value:
    first = next(leaves_of(use.value(0)))
    return use.lower.size(_sequence(first).length)


def _map(use: Use) -> Value:
    """One `map` node for each leaf of what the function gives; a leaf nobody reads costs nothing."""
    items = list(leaves_of(use.value(1)))
    with use.lower.inner() as level:
        inner = [Leaf(level, level.builder.parameter(element_of(leaf.type))) for leaf in items]
        result = use.lower.apply(use.value(0), (rebuild(use.value(1), iter(inner)),))
        results = [level.own(leaf) for leaf in leaves_of(result)]
        graphs = [level.builder.finish((index,)) for index in results]
    captured, own = len(level.captured), len(items)
    order = (*range(own, own + captured), *range(own))
    made = []
    for graph in graphs:
        (kind,) = graph.result_types()
        assert isinstance(kind, Tensor), "a sequence holds tensors"
        made.append(
            use.lower.emit(
                "map", (*level.captured, *items), Sequence(kind, _sequence(items[0]).length),
                body=reordered(graph, order), captured=captured,
            )
        )  # fmt: skip
    return rebuild(result, iter(made))


def _filter(use: Use) -> Value:
    keep = _map(use)
    assert isinstance(keep, Leaf), "a filter's function gives one bool"
    flags = use.lower.emit("stack", (keep,), Tensor("bool", (_sequence(keep).length,)))
    length = fresh_named("length")
    return map_leaves(
        use.value(1), lambda leaf: use.lower.emit("filter", (leaf, flags), Sequence(_sequence(leaf).element, length))
    )


# ---- strings ----


def _hash(use: Use) -> Value:
    return use.lower.emit("hash", (use.leaf(0), use.leaf(1)), use.tensor(1))


def _lookup(use: Use) -> Value:
    """The operation gives -1 for a word that is not there; the size of the vocabulary is an index one can use."""
    lower, number = use.lower, Tensor("int32")
    place = lower.emit("lookup", (use.leaf(0), use.leaf(1)), number)
    known = lower.emit("greater_equal", (place, lower.constant(0, "int32")), Tensor("bool"))
    return lower.emit("select", (known, place, lower.size(use.tensor(0).shape[0])), number)


def _prefix(use: Use) -> Value:
    return use.lower.emit("prefix", (use.leaf(0), use.leaf(1)), Tensor("string"))


# ---- movements ----


def _broadcast(use: Use) -> Value:
    def one(leaf: Leaf) -> Leaf:
        if leaf.node.place != "server":
            return leaf  # known everywhere already
        return use.lower.emit_at("shared", "federated_broadcast", (leaf,), leaf.type)

    return map_leaves(use.value(0), one)


def _to_server(use: Use) -> Value:
    """A sum, a smallest or a largest, leaf by leaf."""

    def one(leaf: Leaf, otherwise: tuple[Leaf, ...]) -> Leaf:
        return use.lower.emit_at("server", use.name, (leaf, *otherwise), leaf.type)

    return _leafwise(use.value(0), use.arguments[1] if len(use.arguments) > 1 else None, one)


def _leafwise(value: Value, other: Value | None, function: Callable[[Leaf, tuple[Leaf, ...]], Leaf]) -> Value:
    found = list(leaves_of(value))
    others = [()] * len(found) if other is None else [(leaf,) for leaf in leaves_of(other)]
    return rebuild(value, iter([function(leaf, extra) for leaf, extra in zip(found, others, strict=True)]))


def _mean(use: Use) -> Value:
    weight = use.lower.constant(1.0, "float32") if use.arguments[1] is None else use.leaf(1)

    def one(leaf: Leaf, otherwise: tuple[Leaf, ...]) -> Leaf:
        return use.lower.emit_at("server", "federated_mean", (leaf, weight, *otherwise), leaf.type)

    return _leafwise(use.value(0), use.arguments[2], one)


def _keys(use: Use) -> Value:
    return use.lower.emit_at("clients", "federated_keys", (use.leaf(0),), Tensor("Key"))


def _collect(use: Use) -> Value:
    length = fresh_named("clients")

    def one(leaf: Leaf) -> Leaf:
        return use.lower.emit_at("server", "federated_collect", (leaf,), Sequence(_tensor(leaf), length))

    return map_leaves(use.value(0), one)


def _secure_sum(use: Use) -> Value:
    low, high = use.leaf(1), use.leaf(2)

    def one(leaf: Leaf) -> Leaf:
        bounds = tuple(cast(use.lower, bound, _tensor(leaf).dtype) for bound in (low, high))
        return use.lower.emit_at("server", "federated_secure_sum", (leaf, *bounds), leaf.type)

    return map_leaves(use.value(0), one)


def _aggregate(use: Use) -> Value:
    """Four graphs over what they capture, the state, and a client's value."""
    lower = use.lower
    value, zero = use.value(0), use.value(1)
    state = [leaf.type for leaf in leaves_of(zero)]
    values = [leaf.type for leaf in leaves_of(value)]
    parts: list[tuple[Value | None, list[tuple[Value, list[LeafType]]]]] = [
        (use.value(2), [(zero, state), (value, values)]),
        (use.value(3), [(zero, state), (zero, state)]),
        (use.value(4), [(zero, state)]),
    ]
    captured: list[Leaf] = list(dict.fromkeys(leaves_of(zero)))  # one node may be several parts of the state
    built = []
    for function, shapes in parts:
        with lower.inner() as level:
            arguments: list[Value] = []
            for like, kinds in shapes:
                own = [Leaf(level, level.builder.parameter(kind)) for kind in kinds]
                arguments.append(rebuild(like, iter(own)))
            for leaf in captured:
                level.own(leaf)
            assert function is not None
            result = lower.apply(function, tuple(arguments))
            results = [level.own(leaf) for leaf in leaves_of(result)]
        captured = list(level.captured)
        built.append((level, results, sum(len(kinds) for _, kinds in shapes), result))
    graphs = []
    for level, results, own_count, _ in built:
        for leaf in captured:
            level.own(leaf)
        graph = level.builder.finish(tuple(results))
        graphs.append(reordered(graph, (*range(own_count, own_count + len(captured)), *range(own_count))))
    with lower.inner() as level:
        for leaf in captured:
            level.own(leaf)
        graphs.insert(0, level.builder.finish(tuple(level.own(leaf) for leaf in leaves_of(zero))))
    given = graphs[3].result_types()
    node = lower.emit_at(
        "server", "federated_aggregate", (*captured, *leaves_of(value)), given, captured=len(captured),
        zero=graphs[0], accumulate=graphs[1], merge=graphs[2], report=graphs[3],
    )  # fmt: skip
    return rebuild(built[2][3], iter([lower.part(node, k) for k in range(len(given))]))


GROUPS: dict[str, Rule] = {"elementwise": _elementwise, "reduction": _reduction, "running": _along}

RULES: dict[str, Rule] = {
    "cast": _cast,
    "reduce_mean": _reduce_mean,
    "arg_max": _arg,
    "arg_min": _arg,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "sparse_softmax_cross_entropy": _cross_entropy,
    "transpose": _transpose,
    "reshape": _reshape,
    "expand": _expand,
    "flatten": _flatten,
    "concat": _concat,
    "reverse": _first_axis,
    "sort": _first_axis,
    "arg_sort": _arg_sort,
    "range": _range,
    "one_hot": _one_hot,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "matmul": _matmul,
    "conv2d": _conv2d("same"),
    "conv2d_valid": _conv2d("valid"),
    "max_pool": _pool,
    "average_pool": _pool,
    "zeros": _filled(0),
    "ones": _filled(1),
    "zeros_like": _filled_like(0),
    "ones_like": _filled_like(1),
    "total": _over_leaves((), "reduce_sum", "add", "float32", 0.0),
    "max_norm": _over_leaves(("abs",), "reduce_max", "maximum", "float32", 0.0),
    "is_finite": _over_leaves(("is_finite",), "reduce_all", "logical_and", "bool", True),
    "random_key": _random_key,
    "random_uniform": _uniform,
    "random_normal": _random("random_normal"),
    "random_permutation": _permutation,
    "batch": _batch,
    "take": _resized("take"),
    "skip": _resized("skip"),
    "repeated": _resized("repeat"),
    "shuffle": _resized("shuffle", key_first=True),
    "stack": _stack,
    "unstack": _unstack,
    "length": _length,
    "map": _map,
    "filter": _filter,
    "hash": _hash,
    "lookup": _lookup,
    "prefix": _prefix,
    "federated_broadcast": _broadcast,
    "federated_sum": _to_server,
    "federated_min": _to_server,
    "federated_max": _to_server,
    "federated_mean": _mean,
    "federated_keys": _keys,
    "federated_collect": _collect,
    "federated_secure_sum": _secure_sum,
    "federated_aggregate": _aggregate,
}
