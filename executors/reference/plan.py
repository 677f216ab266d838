"""Graphs to plans, and plans run: the door of the reference evaluator.

In: a local graph without `call` and `gradient`, and one value for each parameter. Out: the values of its results.

A plan is the graph with every node's kernel chosen and every symbolic size given the places where it shows. Sizes get
their values from the parameters' own shapes, which must agree; a size that first shows in a result is bound when the
result is there. The body of a map or fold binds the sizes of its parameters afresh each time, because elements
differ; sizes that they do not tell it has from the graph around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph, LeafType, Node, NodeType, Sequence
from fedlang.run.errors import operation_failed, size_mismatch, wrong_argument
from fedlang.run.executor import Printed, Sink
from fedlang.run.sequences import Elements, LeafValue, Rows
from fedlang.run.values import as_array, shown_type
from fedlang.source import Span
from fedlang.types.dims import Atom, Dim, Quotient, Size, atoms_of, evaluate

from . import (
    contraction,
    control,
    draws,
    effects,
    elementwise,
    pooling,
    reductions,
    sequences,
    strings,
    structural,
)
from .kernel import Body, Frame, Kernel, Maker

KERNELS: dict[str, Maker] = {
    **elementwise.KERNELS,
    **reductions.KERNELS,
    **structural.KERNELS,
    **contraction.KERNELS,
    **pooling.KERNELS,
    **draws.KERNELS,
    **sequences.KERNELS,
    **control.KERNELS,
    **effects.KERNELS,
    **strings.KERNELS,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a symbolic size shows: result `part` (0 for a node with one), axis `axis` (-1 for a sequence's length)."""

    size: Dim
    part: int
    axis: int

    def read(self, value: Any) -> int:
        """The number that stands there."""
        return len(value) if self.axis < 0 else int(value.shape[self.axis])


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One node made ready. `binds` are the sizes that show here first."""

    kernel: Kernel
    inputs: tuple[int, ...]
    index: int
    op: str
    span: Span | None
    binds: tuple[Place, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A graph made ready. `places` are the sizes that show in parameters; `part` of such a place is the parameter."""

    graph: Graph
    steps: tuple[Step, ...]
    places: tuple[Place, ...]

    @property
    def binds(self) -> bool:
        """Whether any size gets its value here."""
        return bool(self.places) or any(step.binds for step in self.steps)


def evaluate_graph(graph: Graph, arguments: Items[LeafValue], sink: Sink | None = None) -> list[LeafValue]:
    """The results of a local graph.

    `DiagnosticError` for arguments that do not fit, failed checks and failed operations.
    """
    plan = plan_of(graph)
    values = [_fit(graph, k, value) for k, value in enumerate(arguments)]
    if len(values) != len(graph.parameters):
        raise wrong_argument("the graph", f"given {len(values)} values", f"of {len(graph.parameters)} parameters", None)
    with np.errstate(all="ignore"):
        return run_plan(plan, values, Frame({}, Printed() if sink is None else sink))


def run_plan(
    plan: Plan, arguments: Items[LeafValue], frame: Frame, around: Mapping[Atom, int] = MappingProxyType({})
) -> list[LeafValue]:
    """The results, with the sizes of the parameters bound in `frame` first; others are as `around` has them."""
    if plan.places or around:
        _bind_parameters(plan, arguments, frame.sizes, around)
    values: list[Any] = [None] * len(plan.graph.nodes)
    for parameter, argument in zip(plan.graph.parameters, arguments, strict=True):
        values[parameter] = argument
    step = None
    try:
        for step in plan.steps:
            value = values[step.index] = step.kernel(frame, *[values[k] for k in step.inputs])
            if step.binds:
                _bind_result(step, value, frame.sizes)
    except DiagnosticError:
        raise
    except Exception as error:
        assert step is not None, "something must have run to fail"
        raise operation_failed(step.op, _reason(error), step.span) from error
    return [_whole(values[index]) for index in plan.graph.results]


def _whole(value: Any) -> LeafValue:
    return value if isinstance(value, (np.ndarray, Rows, Elements)) else np.asarray(value)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _body(graph: Graph) -> Body:
    """A graph in an attribute as a function of the frame around it."""
    plan = plan_of(graph)
    if not plan.binds:
        return lambda frame, arguments: run_plan(plan, arguments, frame)
    return lambda frame, arguments: run_plan(plan, arguments, Frame({}, frame.sink), frame.sizes)


# Plans by the identity of their graph, which the plan keeps alive. Equal graphs may differ in their spans.
_plans: dict[int, Plan] = {}
PLANS_KEPT = 4096


def plan_of(graph: Graph) -> Plan:
    """The plan of a graph; made once."""
    known = _plans.get(id(graph))
    if known is not None and known.graph is graph:
        return known
    plan = make_plan(graph)
    if len(_plans) >= PLANS_KEPT:
        _plans.clear()
    _plans[id(graph)] = plan
    return plan


def make_plan(graph: Graph) -> Plan:
    """Chooses the kernels. `DiagnosticError` for an operation that there is none of."""
    places = tuple(
        Place(place.size, k, place.axis) for k, type in enumerate(graph.parameter_types()) for place in _places(type)
    )
    known = {atom for place in places for atom in atoms_of(place.size)}
    steps = []
    for index, node in enumerate(graph.nodes):
        if node.op != "parameter":
            span = graph.spans[index] if graph.spans else None
            steps.append(Step(_kernel(node, span), node.inputs, index, node.op, span, _new_places(node.type, known)))
    return Plan(graph, tuple(steps), places)


def _kernel(node: Node, span: Span | None) -> Kernel:
    maker = KERNELS.get(node.op)
    if maker is None:
        raise operation_failed(node.op, "the reference executor does not have it", span)
    return maker(node, _body, span)


def _places(type: NodeType) -> list[Place]:
    leaves = type if isinstance(type, tuple) else (type,)
    return [Place(size, part, axis) for part, leaf in enumerate(leaves) for axis, size in _sizes(leaf)]


def _sizes(leaf: LeafType) -> list[tuple[int, Dim]]:
    """The symbolic sizes of a leaf that its value shows: a sequence shows its length, not its elements' sizes."""
    sizes: list[tuple[int, Size]] = [(-1, leaf.length)] if isinstance(leaf, Sequence) else list(enumerate(leaf.shape))
    return [(axis, size) for axis, size in sizes if isinstance(size, Dim)]


def _new_places(type: NodeType, known: set[Atom]) -> tuple[Place, ...]:
    new = [place for place in _places(type) if not known.issuperset(atoms_of(place.size))]
    for place in new:
        known.update(atoms_of(place.size))
    return tuple(new)


def _bind_parameters(
    plan: Plan, arguments: Items[LeafValue], sizes: dict[Atom, int], around: Mapping[Atom, int]
) -> None:
    """Gives every size in the parameters its value. Sizes that are a name are read; others must agree or are solved."""
    rest = []
    for place in plan.places:
        atom, number = place.size.atom, place.read(arguments[place.part])
        if atom is None or isinstance(atom, Quotient):
            rest.append((place, number))
        elif sizes.setdefault(atom, number) != number:
            raise _mismatch(plan, place, number, sizes, arguments)
    for place, number in rest:
        _solve(place.size, number, sizes)
    for atom, number in around.items():
        sizes.setdefault(atom, number)
    for place, number in rest:
        if _known(place.size, sizes) and evaluate(place.size, sizes) != number:
            raise _mismatch(plan, place, number, sizes, arguments)


def _bind_result(step: Step, value: Any, sizes: dict[Atom, int]) -> None:
    """Gives the sizes that show first in this result their values."""
    for place in step.binds:
        number = place.read(value[place.part] if isinstance(value, tuple) else value)
        atom = place.size.atom
        if atom is not None and not isinstance(atom, Quotient):
            sizes[atom] = number
        else:
            _solve(place.size, number, sizes)


def _known(size: Dim, sizes: dict[Atom, int]) -> bool:
    return all(isinstance(atom, Quotient) or atom in sizes for atom in atoms_of(size))


def _solve(size: Dim, number: int, sizes: dict[Atom, int]) -> None:
    """Binds the one name without a value in a size that is linear in it, such as `n + 1` or `2 * n`."""
    missing = {atom for atom in atoms_of(size) if atom not in sizes and not isinstance(atom, Quotient)}
    if len(missing) != 1:
        return
    (atom,) = missing

    def at(value: int) -> int:
        return evaluate(size, {**sizes, atom: value})

    if any(isinstance(each, Quotient) for each in atoms_of(size)) or at(2) - at(1) != at(1) - at(0) or at(1) == at(0):
        return
    value, left = divmod(number - at(0), at(1) - at(0))
    if not left:
        sizes[atom] = value


def _mismatch(
    plan: Plan, place: Place, number: int, sizes: dict[Atom, int], arguments: Items[LeafValue]
) -> DiagnosticError:
    """The error for a place that disagrees with an earlier one, which it looks for only now."""
    wanted = evaluate(place.size, sizes)
    earlier = [
        other for other in plan.places if other is not place and set(atoms_of(other.size)) & set(atoms_of(place.size))
    ]
    agreeing = [other for other in earlier if _known(other.size, sizes) and other.read(arguments[other.part]) != number]
    first = _name(plan.graph, (agreeing or [place])[0].part)
    return size_mismatch(
        str(place.size), first, wanted, _name(plan.graph, place.part), number, _span(plan.graph, place.part)
    )


def _name(graph: Graph, parameter: int) -> str:
    named = graph.names[parameter] if parameter < len(graph.names) else ""
    return f"`{named}`" if named else f"argument {parameter + 1}"


def _span(graph: Graph, parameter: int) -> Span | None:
    return graph.spans[graph.parameters[parameter]] if graph.spans else None


def _fit(graph: Graph, k: int, value: LeafValue) -> LeafValue:
    """The value as its parameter's type wants it; `DiagnosticError` FED0601 where it is something else."""
    if k >= len(graph.parameters):
        return value
    type = graph.nodes[graph.parameters[k]].leaf
    if isinstance(type, Sequence):
        if isinstance(value, (Rows, Elements)):
            return value
        raise wrong_argument(_name(graph, k), "no sequence", "a sequence", _span(graph, k))
    if isinstance(value, (Rows, Elements)):
        raise wrong_argument(_name(graph, k), "a sequence", "a tensor", _span(graph, k))
    try:
        array = as_array(value, type.dtype)
    except (TypeError, ValueError) as error:
        raise wrong_argument(_name(graph, k), str(error), type.dtype, _span(graph, k)) from None
    shape = array.shape[:-1] if type.dtype == "Key" else array.shape
    if len(shape) != len(type.shape) or any(
        a != b for a, b in zip(shape, type.shape, strict=True) if isinstance(b, int)
    ):
        raise wrong_argument(
            _name(graph, k), shown_type(type.dtype, shape), shown_type(type.dtype, type.shape), _span(graph, k)
        )
    return array
