"""Derivatives written in the prelude, as graphs: what `passes/differentiate.py` asks for each operation.

A primitive's `derivative (dy) => …` is checked and lowered with the types of the node at hand, so it sees true
sizes. Its names are the parameters, the sizes of the signature, and `result`.
"""

from __future__ import annotations

from fedlang.check.annotations import Annotations
from fedlang.check.body import Body
from fedlang.check.declarations import Checker
from fedlang.check.expressions import infer
from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph, LeafType, Node, Tensor
from fedlang.lower.evaluate import NO_TYPES, Lowerer
from fedlang.lower.leaves import match_sizes
from fedlang.lower.primitives import OPERATION_OF, lower_primitive
from fedlang.lower.values import Leaf, TupleValue, Value, leaves_of
from fedlang.names.world import Symbol
from fedlang.syntax import tree
from fedlang.types.dims import Atom, Named, Size
from fedlang.types.dtypes import FLOATS
from fedlang.types.substitute import Substitution
from fedlang.types.types import TensorType, TypeVariable

PRIMITIVE_OF = {operation: name for name, operation in OPERATION_OF.items()}


class Derivatives:
    """Rules for one checker's prelude; each is made once for each set of types."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._known: dict[tuple[object, ...], Graph | None] = {}

    def __call__(self, node: Node, types: tuple[LeafType, ...]) -> Graph | None:
        """The graph from inputs, result and cotangent to the inputs' cotangents; None where there is no rule."""
        key = (node.op, types, node.type)
        if key not in self._known:
            self._known[key] = self._make(node, types)
        return self._known[key]

    def _make(self, node: Node, types: tuple[LeafType, ...]) -> Graph | None:
        symbol = Symbol("prelude", PRIMITIVE_OF.get(node.op, node.op))
        if self._checker.world.member("prelude", symbol.name) is None:
            return None
        checked = self._checker.checked(symbol)
        if checked is None or not isinstance(checked.declaration, tree.PrimitiveDeclaration):
            return None
        rule = checked.declaration.derivative
        if rule is None:
            return None
        lower = Lowerer(self._checker, lower_primitive)
        kinds = (*types, node.tensor, node.tensor)
        level = lower.level
        leaves = [Leaf(level, level.builder.parameter(kind)) for kind in kinds]
        names = [*(p.name for p in checked.parameters), "result", *(p.name.text for p in rule.parameters)]
        sizes: dict[Atom, Size] = {}
        packs: dict[TypeVariable, tuple[object, ...]] = {}
        for parameter, leaf in zip(checked.parameters, leaves, strict=False):
            match_sizes(parameter.type, leaf, sizes, packs)  # type: ignore[arg-type]
        typed, solution = self._check(rule, names, kinds, sizes)
        env = lower.environment(solution, NO_TYPES).with_names(dict(zip(names, leaves, strict=True)))
        value = lower.evaluate(typed, env)
        return level.builder.finish(tuple(leaf.index for leaf in _per_float(value, types)))

    def _check(self, rule: tree.Lambda, names: list[str], kinds: tuple[LeafType, ...], sizes: dict[Atom, Size]):  # type: ignore[no-untyped-def]
        annotations = Annotations(self._checker.world, "prelude", self._checker.alias, _raise)
        annotations.names = {atom.name: size for atom, size in sizes.items() if isinstance(atom, Named)}
        body = Body(self._checker, "prelude", annotations, _raise, infer, fed=False)
        for name, kind in zip(names, kinds, strict=True):
            assert isinstance(kind, Tensor), "derivatives are of tensors"
            body.bind(name, TensorType(kind.dtype, kind.shape), rule.span)
        typed = body.infer(rule.body.value)
        body.end()
        solution: Substitution = body.solver.solution
        return typed, solution


def _raise(diagnostic):  # type: ignore[no-untyped-def]
    if diagnostic.severity == "error":
        raise DiagnosticError(diagnostic)


def _per_float(value: Value, types: tuple[LeafType, ...]) -> list[Leaf]:
    """One cotangent for each float input."""
    floats = [kind for kind in types if isinstance(kind, Tensor) and kind.dtype in FLOATS]
    found = list(value.items) if isinstance(value, TupleValue) else [value]
    assert len(found) == len(floats), "a derivative gives one value for each float parameter"
    return [next(leaves_of(each)) for each in found]
