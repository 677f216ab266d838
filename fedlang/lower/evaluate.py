"""Evaluates typed expressions into a graph.

The one evaluator serves both levels: in a `fed` body each operation is a node at the place of its inputs, in local
code a node of
no place. Functions are values here and calling one evaluates its body, so the graph that comes out is first-order.
Types are
concrete: `Env.types` says what every type parameter stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Protocol, TypeAlias, assert_never

from fedlang.check import typed as t
from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Attribute, Graph, LeafType, NodeType, Sequence, Tensor
from fedlang.lower import errors
from fedlang.lower.leaves import match_sizes, name_unknowns, result_tensors, shape_value
from fedlang.lower.values import (
    UNIT,
    Closure,
    Declared,
    Env,
    Gradient,
    Leaf,
    Level,
    PerClient,
    RecordValue,
    TupleValue,
    Value,
    clients_in,
    env_of_client,
    has_clients,
    is_data,
    leaves_of,
    map_leaves,
    of_client,
    rebuild,
    reordered,
)
from fedlang.names.world import Symbol
from fedlang.syntax import tree
from fedlang.types import dims
from fedlang.types.dims import Atom, Named, Quotient, Size, fresh_named, subtract
from fedlang.types.shapes import ShapeError
from fedlang.types.substitute import Substitution, substitute, substitute_shape, substitute_size
from fedlang.types.types import FunctionType, Meta, PackItem, PlacedType, SequenceType, Shape, Type, TypeVariable

NODE_BUDGET = 100_000  # nodes made while lowering one entry; some seconds
NO_TYPES = Substitution({}, {}, {})


def _sizes(type: LeafType) -> tuple[Size, ...]:
    return (type.length,) if isinstance(type, Sequence) else type.shape


class Declarations(Protocol):
    """What lowering asks of the checker."""

    def checked(self, symbol: Symbol) -> t.Checked | None:
        """A declaration with its body."""
        ...


Arguments: TypeAlias = tuple[Value | None, ...]
Primitive: TypeAlias = "Callable[[Lowerer, t.Checked, Substitution, Arguments, tuple[bool, ...], Type | None], Value]"


Simulate: TypeAlias = "Callable[[Lowerer, Value, Arguments, tuple[bool, ...], Type], Value]"


class Lowerer:
    """Evaluates into one graph after another: `level` is the one being built."""

    def __init__(self, declarations: Declarations, primitive: Primitive) -> None:
        self.declarations = declarations
        self.primitive = primitive
        self.simulate: Simulate | None = None  # in a test: what calls with the clients' values do
        self.level = Level()
        self.calls: list[str] = []
        self.made = 0

    # ---- nodes ----

    def emit(self, op: str, inputs: tuple[Leaf, ...], type: NodeType, **attributes: Attribute) -> Leaf:
        """One operation on leaves, at the place where they meet."""
        own = tuple(self.level.own(leaf) for leaf in inputs)
        return self._add(op, own, type, self.place_of(own), attributes)

    def emit_at(self, place: str, op: str, inputs: tuple[Leaf, ...], type: NodeType, **attributes: Attribute) -> Leaf:
        """One operation whose result is at a place of its own: a movement."""
        return self._add(op, tuple(self.level.own(leaf) for leaf in inputs), type, place, attributes)

    def _add(self, op: str, own: tuple[int, ...], type: NodeType, place: str, attributes: dict[str, Attribute]) -> Leaf:
        self.made += 1
        if self.made > NODE_BUDGET:
            raise DiagnosticError(errors.too_large(self.level.builder.span, self.calls))
        return Leaf(self.level, self.level.builder.add(op, own, type, place=place, **attributes))

    def place_of(self, own: tuple[int, ...]) -> str:
        """The place of a computation over these nodes."""
        places = {self.level.builder.nodes[index].place for index in own} - {""}
        if not places:
            return ""
        return "clients" if "clients" in places else "shared" if "shared" in places else places.pop()

    def part(self, node: Leaf, index: int) -> Leaf:
        """One result of a node with several."""
        return Leaf(self.level, self.level.builder.get(node.index, index))

    def constant(self, value: bool | int | float | str, dtype: str) -> Leaf:
        """A scalar that is known."""
        if dtype.startswith(("float", "bfloat")):
            value = float(value)
        return self.emit("constant", (), Tensor(dtype), value=value)

    def full(self, value: bool | int | float, type: LeafType) -> Leaf:
        """A tensor of one number."""
        assert isinstance(type, Tensor), "no sequence of one number"
        return self.broadcast(self.constant(value, type.dtype), type.shape)

    def broadcast(self, leaf: Leaf, shape: tuple[Size, ...], axes: tuple[int, ...] | None = None) -> Leaf:
        """The tensor repeated to a shape; by default its axes are the last ones."""
        tensor = leaf.type
        assert isinstance(tensor, Tensor), "sequences are not repeated"
        if tensor.shape == shape:
            return leaf
        where = axes if axes is not None else tuple(range(len(shape) - len(tensor.shape), len(shape)))
        kept = tuple(size if size == 1 else shape[axis] for size, axis in zip(tensor.shape, where, strict=True))
        if kept != tensor.shape:  # sizes that must turn out to be equal: only a known 1 is stretched
            for mine, other in zip(tensor.shape, kept, strict=True):
                self.require_equal(mine, other)
            leaf = self.emit("reshape", (leaf,), Tensor(tensor.dtype, kept))
            if kept == shape:
                return leaf
        return self.emit("broadcast", (leaf,), Tensor(tensor.dtype, shape), axes=where)

    def require_equal(self, mine: Size, other: Size) -> None:
        """A check beside a reshape that takes it that two sizes are equal."""
        if mine == other:
            return
        equal = self.emit("equal", (self.size(mine), self.size(other)), Tensor("bool"))
        at = self.level.own(equal)
        names = dims.print_size(mine), dims.print_size(other)
        message = "sizes that must be equal differ" + (f": {' and '.join(names)}" if names[0] != names[1] else "")
        self.level.builder.add_effect("check", (at,), place=self.place_of((at,)), message=message, operation="reshape")

    def size(self, size: Size) -> Leaf:
        """A size as an int32, from the sizes that have names."""
        if isinstance(size, int):
            return self.constant(size, "int32")
        total: Leaf | None = None
        for atoms, number in size.terms:
            term: Leaf | None = self.constant(number, "int32") if number != 1 or not atoms else None
            for atom in atoms:
                factor = self._atom(atom)
                term = factor if term is None else self.emit("multiply", (term, factor), Tensor("int32"))
            assert term is not None, "a term has a factor"
            total = term if total is None else self.emit("add", (total, term), Tensor("int32"))
        assert total is not None, "a size has a term"
        return total

    def _atom(self, atom: Atom) -> Leaf:
        if isinstance(atom, Quotient):
            top, bottom = self.size(atom.dividend), self.size(atom.divisor)
            if atom.kind == "ceil":
                below = self.emit("subtract", (bottom, self.constant(1, "int32")), Tensor("int32"))
                top = self.emit("add", (top, below), Tensor("int32"))
            return self.emit("floor_divide", (top, bottom), Tensor("int32"))
        assert isinstance(atom, Named), f"size {atom} is still open"
        return self.emit_at(self._place_of_size(atom), "size", (), Tensor("int32"), dimension=dims.of_atom(atom))

    def _place_of_size(self, atom: Atom) -> str:
        """Where the first value that shows the size is: only there is it known."""
        if not self.level.federated:
            return ""
        for node in self.level.builder.nodes:
            types = node.type if isinstance(node.type, tuple) else (node.type,)
            if any(atom in dims.atoms_of(size) for type in types for size in _sizes(type)):
                return node.place
        return ""

    @contextmanager
    def inner(self) -> Iterator[Level]:
        """A graph inside the present one."""
        outer = self.level
        self.level = Level(outer)
        self.level.builder.span = outer.builder.span
        try:
            yield self.level
        finally:
            self.level = outer

    # ---- expressions ----

    def evaluate(self, expression: t.Typed, env: Env) -> Value:
        """The value of an expression."""
        match expression:
            case t.Literal(value, type):
                (tensor,) = result_tensors(substitute(type, env.types))
                return self.constant(value, tensor.dtype)
            case t.Local(name):
                return env.names[name]
            case t.Global(symbol, instance):
                return Declared(symbol, self.instance(instance, env))
            case t.SizeOf(size):
                return self.size(substitute_size(size, env.types))
            case t.Call():
                return self._call(expression, env)
            case t.TupleOf(items):
                return TupleValue(tuple(self.evaluate(item, env) for item in items))
            case t.RecordOf(items):
                return self._record(items, env)
            case t.ListOf(items, type):
                return self._list(items, type, env)
            case t.Field(target, name):
                return _field(self.evaluate(target, env), name)
            case t.IndexOf(target, items):
                return self._index(self.evaluate(target, env), items, env)
            case t.BlockOf():
                return self.block(expression, env)
            case t.Function(parameters, body):
                return Closure(parameters, body, env)
            case t.Branch():
                return self._branch(expression, env)
            case t.LoopOf():
                return self._loop(expression, env)
            case t.GradientOf(value, function, _, span):
                return Gradient(value, self.evaluate(function, env), span)
        assert_never(expression)

    def _record(self, items: tuple[tuple[str, t.Typed], ...], env: Env) -> Value:
        fields: dict[str, Value] = {}
        for name, item in items:
            value = self.evaluate(item, env)
            if name:
                fields[name] = value
            else:
                assert isinstance(value, RecordValue), "only records are spread"
                fields |= value.fields
        return RecordValue(fields)

    def _list(self, items: tuple[t.Typed, ...], type: Type, env: Env) -> Value:
        if isinstance(type, SequenceType):  # in a test: the clients' values
            return PerClient(tuple(self.evaluate(item, env) for item in items))
        if not items:
            kinds = result_tensors(substitute(type, env.types))
            assert len(kinds) == 1, "an empty list is a tensor"
            return self.full(0, kinds[0])
        values = [self.evaluate(item, env) for item in items]
        columns = zip(*(list(leaves_of(value)) for value in values), strict=True)
        return rebuild(values[0], iter([self._stacked(column) for column in columns]))

    def _stacked(self, column: tuple[Leaf, ...]) -> Leaf:
        kind = column[0].type
        assert isinstance(kind, Tensor), "a list holds tensors"
        axes = tuple(range(1, len(kind.shape) + 1))
        rows = tuple(self.broadcast(leaf, (1, *kind.shape), axes) for leaf in column)
        return self.emit("concat", rows, Tensor(kind.dtype, (len(rows), *kind.shape)), axis=0)

    # ---- blocks ----

    def block(self, block: t.BlockOf, env: Env) -> Value:
        """Statements in order, then the value."""
        try:
            names = dict(env.names)
            scope = Env(names, env.types)
            for statement in block.statements:
                self.level.builder.span = statement.span
                if isinstance(statement, t.LetOf):
                    self.bind(statement.binder, self.evaluate(statement.value, scope), names, scope)
                else:
                    self._effect(statement, scope)
            self.level.builder.span = block.value.span
            return self.evaluate(block.value, scope)
        except ShapeError as error:
            raise DiagnosticError(errors.no_shape(self.level.builder.span, str(error))) from error

    def bind(self, binder: t.Binder, value: Value, names: dict[str, Value], env: Env) -> None:
        """Names the parts of a value."""
        match binder:
            case t.BindName(name, type):
                self.match(type, value, env)
                names[name] = value
            case t.BindNothing():
                pass
            case t.BindTuple(items):
                for index, item in enumerate(items):
                    self.bind(item, _part(value, index), names, env)
            case t.BindRecord(fields):
                for field in fields:
                    self.bind(field, _field(value, field.name), names, env)

    def match(self, type: Type, value: Value, env: Env) -> None:
        """Gives the sizes that a variable's type names the sizes of its value."""
        found: dict[Atom, Size] = {}
        packs: dict[TypeVariable, Shape] = {}
        if is_data(value):
            match_sizes(substitute(type, env.types), value, found, packs)
        sizes, known_packs = env.types.sizes, env.types.packs
        assert isinstance(sizes, dict) and isinstance(known_packs, dict), "an environment's sizes are its own"
        for atom, size in found.items():
            known = substitute_size(size, env.types)
            if atom not in dims.atoms_of(known):  # a size never stands for itself
                sizes[atom] = known
        for pack, shape in packs.items():
            known_packs.setdefault(pack, shape)

    def _effect(self, effect: t.EffectOf, env: Env) -> None:
        values = [self.evaluate(argument, env) for argument in effect.arguments]
        leaves = tuple(chain.from_iterable(leaves_of(value) for value in values))
        own = tuple(self.level.own(leaf) for leaf in leaves)
        builder = self.level.builder
        builder.span = effect.span
        match effect.kind:
            case "expect":
                condition = self.all_of(values[0])
                at = self.level.own(condition)
                message = effect.message or effect.arguments[0].span.text
                builder.add_effect("check", (at,), place=self.place_of((at,)), message=message)
            case "print":
                builder.add_effect("print", own, place=self.place_of(own), format=effect.message)
            case _:
                for leaf in own:
                    builder.add_effect("probe", (leaf,), place=self.place_of((leaf,)), name=effect.message)

    def all_of(self, value: Value) -> Leaf:
        """Whether every bool in a value is true."""
        result: Leaf | None = None
        for leaf in leaves_of(value):
            kind = leaf.type
            assert isinstance(kind, Tensor), "a condition is a tensor"
            one = (
                self.emit("reduce_all", (leaf,), Tensor("bool"), axes=tuple(range(len(kind.shape))))
                if kind.shape
                else leaf
            )
            result = one if result is None else self.emit("logical_and", (result, one), Tensor("bool"))
        return result if result is not None else self.constant(True, "bool")

    # ---- calls ----

    def instance(self, instance: Substitution, env: Env) -> Substitution:
        """Type arguments with nothing of the caller's left in them;

        what stays unknown is left for the arguments to tell.
        """
        types: dict[TypeVariable | Meta, Type | str] = {}
        for variable, found in instance.types.items():
            types[variable] = found if isinstance(found, str) else name_unknowns_not(substitute(found, env.types))
        packs = {variable: tuple(self._sizes_of(shape, env)) for variable, shape in instance.packs.items()}
        known_packs = {v: shape for v, shape in packs.items() if not any(_is_open(item) for item in shape)}
        sizes: dict[Atom, Size] = {}
        for atom, size in instance.sizes.items():
            found_size = substitute_size(size, env.types)
            if not _is_open(found_size):
                sizes[atom] = found_size
        return Substitution(types, known_packs, sizes)

    def _sizes_of(self, shape: Shape, env: Env) -> Shape:
        return substitute_shape(shape, env.types)

    def _call(self, call: t.Call, env: Env) -> Value:
        function = self.evaluate(call.function, env)
        arguments = tuple(None if a is None else self.evaluate(a, env) for a in call.arguments)
        outer = self.level.builder.span
        self.level.builder.span = call.span
        if self.simulate is not None and any(has_clients(a) for a in (function, *arguments) if a is not None):
            result = self.simulate(self, function, arguments, call.spread, substitute(call.type, env.types))
            self.level.builder.span = outer
            return result
        result = self.apply(function, arguments, call.spread, substitute(call.type, env.types))
        self.level.builder.span = outer
        return result

    def apply(
        self,
        function: Value,
        arguments: tuple[Value | None, ...],
        spread: tuple[bool, ...] = (),
        result: Type | None = None,
    ) -> Value:
        """The value of a call."""
        match function:
            case Closure():
                return self._apply_closure(function, arguments)
            case Declared():
                return self._apply_declared(function, arguments, spread, result)
            case Gradient():
                return self._gradient(function, arguments)
        raise AssertionError("only functions are called")

    def _apply_closure(self, closure: Closure, arguments: tuple[Value | None, ...]) -> Value:
        types = Substitution(
            dict(closure.env.types.types), dict(closure.env.types.packs), dict(closure.env.types.sizes)
        )
        names = dict(closure.env.names)
        env = Env(names, types)
        for parameter, argument in zip(closure.parameters, arguments, strict=True):
            assert argument is not None, "a function value has no defaults"
            self.bind(parameter, argument, names, env)
        return self.block(closure.body, env)

    def _apply_declared(
        self, function: Declared, arguments: tuple[Value | None, ...], spread: tuple[bool, ...], result: Type | None
    ) -> Value:
        checked = self.declarations.checked(function.symbol)
        if checked is None:
            raise DiagnosticError(errors.broken(self.level.builder.span, str(function.symbol)))
        if isinstance(checked.declaration, tree.PrimitiveDeclaration):
            return self.primitive(self, checked, function.instance, arguments, spread, result)
        if isinstance(checked.declaration, tree.ExternDeclaration):
            return self._extern(checked, function, arguments, result)
        key = self._memo_key(function, arguments)
        if key is not None and key in self.level.memo:
            return self.level.memo[key]
        self.calls.append(str(function.symbol))
        value = self._body(checked, function, arguments)
        self.calls.pop()
        if key is not None:
            self.level.memo[key] = value
        return value

    def _memo_key(self, function: Declared, arguments: tuple[Value | None, ...]) -> object | None:
        """Calls of one function on the same data are made once."""
        if not all(argument is None or is_data(argument) for argument in arguments):
            return None
        leaves = tuple(() if a is None else tuple(leaves_of(a)) for a in arguments)
        instance = function.instance
        return (
            function.symbol,
            tuple(instance.types.items()),
            tuple(instance.packs.items()),
            tuple(instance.sizes.items()),
            leaves,
        )

    def environment(self, solution: Substitution, instance: Substitution) -> Env:
        """An environment for a body: what its solver found, and what its type parameters stand for."""
        return Env(
            {},
            Substitution(
                {**solution.types, **instance.types},
                {**solution.packs, **instance.packs},
                {**solution.sizes, **instance.sizes},
            ),
        )

    def _body(self, checked: t.Checked, function: Declared, arguments: tuple[Value | None, ...]) -> Value:
        env = self.environment(checked.solution, function.instance)
        self.bind_parameters(checked, function.instance, arguments, env)
        if isinstance(checked.body, tuple):
            return self.process(checked, function.instance, env)
        assert checked.body is not None, "only functions and processes have bodies"
        return self.block(checked.body, env)

    def bind_parameters(
        self, checked: t.Checked, instance: Substitution, arguments: tuple[Value | None, ...], env: Env
    ) -> None:
        """Names the arguments; a default is evaluated where the parameters before it are known."""
        for k, (parameter, argument) in enumerate(zip(checked.parameters, arguments, strict=True)):
            if argument is None:
                default = checked.defaults[k]
                assert default is not None, "an argument without default is given"
                inner = self.environment(default.solution, instance)
                argument = self.evaluate(default.value, inner.with_names(env.names))
            self.bind(parameter, argument, env.names, env)

    def process(self, checked: t.Checked, instance: Substitution, env: Env) -> Value:
        assert isinstance(checked.body, tuple)
        made: dict[str, Value] = {}
        for method in checked.body:
            own = self.environment(method.solution, instance)
            own.types.sizes.update(env.types.sizes)  # type: ignore[attr-defined]
            made[method.name] = Closure(method.parameters, method.body, own.with_names(env.names), method.name)
        return RecordValue(made)

    def _extern(
        self, checked: t.Checked, function: Declared, arguments: tuple[Value | None, ...], result: Type | None
    ) -> Value:
        env = self.environment(NO_TYPES, function.instance)
        inputs: list[Leaf] = []
        for parameter, argument in zip(checked.parameters, arguments, strict=True):
            assert argument is not None
            self.match(parameter.type, argument, env)
            inputs += leaves_of(argument)
        type = name_unknowns(substitute(checked.type, env.types))
        kinds = tuple(result_tensors(type))
        node = self.emit("extern", tuple(inputs), kinds, handle=str(function.symbol))
        return shape_value(type, [self.part(node, k) for k in range(len(kinds))])

    # ---- index ----

    def _index(self, target: Value, items: tuple[t.Typed | t.SliceOf, ...], env: Env) -> Value:
        found = [self._item(item, env) for item in items]
        return map_leaves(target, lambda leaf: self._index_leaf(leaf, found))

    def _item(self, item: t.Typed | t.SliceOf, env: Env) -> Leaf | tuple[Size, Size | None]:
        if isinstance(item, t.SliceOf):
            stop = None if item.stop is None else substitute_size(item.stop, env.types)
            return substitute_size(item.start, env.types), stop
        value = self.evaluate(item, env)
        assert isinstance(value, Leaf), "an index is one number"
        return value

    def _index_leaf(self, leaf: Leaf, items: list[Leaf | tuple[Size, Size | None]]) -> Leaf:
        axis = 0
        for item in items:
            kind = leaf.type
            assert isinstance(kind, Tensor), "only tensors are indexed"
            if isinstance(item, Leaf):
                leaf = self._row(leaf, item, axis)
                continue
            start, stop = item[0], kind.shape[axis] if item[1] is None else item[1]
            shape = (*kind.shape[:axis], subtract(stop, start), *kind.shape[axis + 1 :])
            if shape != kind.shape:
                leaf = self.emit("slice", (leaf,), Tensor(kind.dtype, shape), axis=axis, start=start, stop=stop)
            axis += 1
        return leaf

    def _row(self, leaf: Leaf, index: Leaf, axis: int) -> Leaf:
        kind = leaf.type
        assert isinstance(kind, Tensor)
        if axis:
            order = (axis, *(k for k in range(len(kind.shape)) if k != axis))
            moved = Tensor(kind.dtype, tuple(kind.shape[k] for k in order))
            leaf = self.emit("transpose", (leaf,), moved, permutation=order)
            kind = moved
        return self.emit("gather", (leaf, index), Tensor(kind.dtype, kind.shape[1:]))

    # ---- gradients ----

    def _gradient(self, gradient: Gradient, arguments: tuple[Value | None, ...]) -> Value:
        first = arguments[0]
        assert first is not None and all(a is not None for a in arguments), "the arguments of a gradient are given"
        by = list(leaves_of(first))
        with self.inner() as level:
            inner = [Leaf(level, level.builder.parameter(leaf.type)) for leaf in by]
            value = self.apply(gradient.function, (rebuild(first, iter(inner)), *arguments[1:]))
            results = list(leaves_of(value))
            body = level.builder.finish(tuple(level.own(leaf) for leaf in results))
        kinds = (*(leaf.type for leaf in results),) if gradient.value else ()
        node = self.emit(
            "gradient", (*by, *level.captured), (*kinds, *(leaf.type for leaf in by)),
            body=body, count=len(by), value=gradient.value,
        )  # fmt: skip
        parts = iter([self.part(node, k) for k in range(len(kinds) + len(by))])
        if not gradient.value:
            return rebuild(first, parts)
        return TupleValue((rebuild(value, parts), rebuild(first, parts)))

    # ---- branches and loops ----

    def _branch(self, branch: t.Branch, env: Env) -> Value:
        condition = self.evaluate(branch.condition, env)
        if (
            self.simulate is not None
            and _at_clients(branch.type)
            and has_clients(RecordValue({**env.names, "": condition}))
        ):
            each = clients_in(RecordValue({**env.names, "": condition}))
            conditions = [of_client(condition, k) for k in range(each)]
            return PerClient(tuple(self._branch_on(branch, c, env_of_client(env, k)) for k, c in enumerate(conditions)))
        return self._branch_on(branch, condition, env)

    def _branch_on(self, branch: t.Branch, condition: Value, env: Env) -> Value:
        assert isinstance(condition, Leaf), "a condition is one bool"
        graphs: list[tuple[Level, Value, list[int]]] = []
        captured: list[Leaf] = []
        for block in (branch.then, branch.otherwise):
            with self.inner() as level:
                for leaf in captured:
                    level.own(leaf)
                value = self.block(block, env)
                results = [level.own(leaf) for leaf in leaves_of(value)]
            captured = list(level.captured)
            graphs.append((level, value, results))
        first = graphs[0]
        for leaf in captured:
            first[0].own(leaf)
        then, otherwise = (level.builder.finish(tuple(results)) for level, _, results in graphs)
        if not then.results and not then.effects and not otherwise.effects:
            return first[1]
        kinds = then.result_types()
        node = self.emit("cond", (condition, *captured), kinds, then=then, otherwise=otherwise)
        return rebuild(first[1], iter([self.part(node, k) for k in range(len(kinds))]))

    def _loop(self, loop: t.LoopOf, env: Env) -> Value:
        over = self.evaluate(loop.over, env)
        start = self.evaluate(loop.start, env)
        if self.simulate is not None and _at_clients(loop.type):
            used = RecordValue({**env.names, "": over, " ": start})
            rows = [
                self._loop_over(loop, of_client(over, k), of_client(start, k), env_of_client(env, k))
                for k in range(clients_in(used))
            ]
            return PerClient(tuple(rows))
        return self._loop_over(loop, over, start, env)

    def _loop_over(self, loop: t.LoopOf, over: Value, start: Value, env: Env) -> Value:
        if loop.kind == "repeat":
            assert isinstance(over, Leaf), "`repeat` counts"
            over = self.emit("count_to", (over,), Sequence(Tensor("int32"), fresh_named("length")))
        return self.fold(loop, over, start, env)

    def fold(self, loop: t.LoopOf, over: Value, start: Value, env: Env) -> Value:
        """A loop as one node: the body as a graph of captured values, carry and element."""
        carry, items = list(leaves_of(start)), list(leaves_of(over))
        with self.inner() as level:
            types = Substitution(dict(env.types.types), dict(env.types.packs), dict(env.types.sizes))
            names = dict(env.names)
            scope = Env(names, types)
            inner_carry = [Leaf(level, level.builder.parameter(leaf.type)) for leaf in carry]
            inner_items = [Leaf(level, level.builder.parameter(element_of(leaf.type))) for leaf in items]
            self.bind(loop.element, rebuild(over, iter(inner_items)), names, scope)
            self.bind(loop.state, rebuild(start, iter(inner_carry)), names, scope)
            result = self.block(loop.body, scope)
            outputs: Value = UNIT
            if loop.kind == "scan":
                assert isinstance(result, TupleValue)
                result, outputs = result.items
            out_leaves = list(leaves_of(outputs))
            results = [level.own(leaf) for leaf in (*leaves_of(result), *out_leaves)]
            graph = level.builder.finish(tuple(results))
        return self._fold_node(level, graph, carry, items, start, outputs, out_leaves)

    def _fold_node(
        self,
        level: Level,
        graph: Graph,
        carry: list[Leaf],
        items: list[Leaf],
        start: Value,
        outputs: Value,
        outs: list[Leaf],
    ) -> Value:
        own = len(carry) + len(items)
        captured = len(level.captured)
        graph = reordered(graph, (*range(own, own + captured), *range(own)))
        length = length_of(items[0].type) if items else 0
        stacked = [Tensor(_tensor(leaf.type).dtype, (length, *_tensor(leaf.type).shape)) for leaf in outs]
        kinds = (*(leaf.type for leaf in carry), *stacked)
        inputs = (*level.captured, *carry, *items)
        node = self.emit("fold", inputs, kinds, body=graph, captured=captured, carries=len(carry), reverse=False)
        parts = [self.part(node, k) for k in range(len(kinds))]
        last = rebuild(start, iter(parts[: len(carry)]))
        if not outs and outputs is UNIT:
            return last
        return TupleValue((last, rebuild(outputs, iter(parts[len(carry) :]))))


def _field(value: Value, name: str) -> Value:
    if isinstance(value, PerClient):
        return PerClient(tuple(_field(item, name) for item in value.items))
    assert isinstance(value, RecordValue), "only records have fields"
    return value.fields[name]


def _part(value: Value, index: int) -> Value:
    if isinstance(value, PerClient):
        return PerClient(tuple(_part(item, index) for item in value.items))
    assert isinstance(value, TupleValue), "only tuples have parts"
    return value.items[index]


def _is_open(item: Size | PackItem) -> bool:
    """Whether a size is still to be told by the arguments."""
    return isinstance(item, PackItem) or any(not isinstance(a, Named | Quotient) for a in dims.atoms_of(item))


def _at_clients(type: Type) -> bool:
    return isinstance(type, PlacedType) and type.place == "CLIENTS"


def _tensor(type: LeafType) -> Tensor:
    assert isinstance(type, Tensor), "a loop gives tensors"
    return type


def element_of(type: LeafType) -> Tensor:
    """What a loop over a leaf gets each time."""
    return type.element if isinstance(type, Sequence) else Tensor(type.dtype, type.shape[1:])


def length_of(type: LeafType) -> Size:
    """How often a loop over a leaf runs."""
    return type.length if isinstance(type, Sequence) else type.shape[0]


def name_unknowns_not(type: Type) -> Type:
    """A type argument as it is; a place around it is taken off."""
    return type.type if isinstance(type, PlacedType) and not isinstance(type.type, FunctionType) else type
