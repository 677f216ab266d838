"""The typed tree: what the checker gives and lowering takes.

Operators are calls, arguments stand in the order of the parameters, puns and implicit type arguments are written
out. Types may
still mention what the declaration's solver found: `Checked.solution` has it.
"""

from __future__ import annotations

from fedlang.frozen import Frozen
from fedlang.names.world import NamedDeclaration, Symbol
from fedlang.source import Span
from fedlang.types.dims import Size
from fedlang.types.substitute import Substitution
from fedlang.types.types import Type


class Literal(Frozen):
    value: bool | int | float | str
    type: Type
    span: Span


class Local(Frozen):
    """A variable or parameter."""

    name: str
    type: Type
    span: Span


class Global(Frozen):
    """A top-level declaration, its type parameters given."""

    symbol: Symbol
    instance: Substitution
    type: Type
    span: Span


class SizeOf(Frozen):
    """A size as an int32."""

    size: Size
    type: Type
    span: Span


class Call(Frozen):
    """`arguments` in the order of the parameters, None for a default.

    `spread` marks the scalars that take each leaf's dtype.
    """

    function: Typed
    arguments: tuple[Typed | None, ...]
    type: Type
    span: Span
    spread: tuple[bool, ...] = ()


class TupleOf(Frozen):
    items: tuple[Typed, ...]
    type: Type
    span: Span


class RecordOf(Frozen):
    """Fields in order; a name of "" spreads a record."""

    items: tuple[tuple[str, Typed], ...]
    type: Type
    span: Span


class ListOf(Frozen):
    items: tuple[Typed, ...]
    type: Type
    span: Span


class Field(Frozen):
    target: Typed
    name: str
    type: Type
    span: Span


class SliceOf(Frozen):
    """`start:stop` of one axis; both are sizes."""

    start: Size
    stop: Size | None


class IndexOf(Frozen):
    """`x[i, a:b]`: one item an axis."""

    target: Typed
    items: tuple[Typed | SliceOf, ...]
    type: Type
    span: Span


class BindName(Frozen):
    name: str
    type: Type


class BindNothing(Frozen):
    pass


class BindTuple(Frozen):
    items: tuple[Binder, ...]


class BindRecord(Frozen):
    fields: tuple[BindName, ...]


Binder = BindName | BindNothing | BindTuple | BindRecord


class LetOf(Frozen):
    binder: Binder
    value: Typed
    span: Span


class EffectOf(Frozen):
    kind: str
    message: str
    arguments: tuple[Typed, ...]
    span: Span


class BlockOf(Frozen):
    statements: tuple[LetOf | EffectOf, ...]
    value: Typed
    type: Type
    span: Span


class Function(Frozen):
    """A lambda."""

    parameters: tuple[BindName, ...]
    body: BlockOf
    type: Type
    span: Span


class Branch(Frozen):
    condition: Typed
    then: BlockOf
    otherwise: BlockOf
    type: Type
    span: Span


class LoopOf(Frozen):
    kind: str
    element: Binder
    over: Typed
    start: Typed
    state: Binder
    body: BlockOf
    type: Type
    span: Span


class GradientOf(Frozen):
    """`grad(f)`, or (`value`) `value_and_grad(f)`: a function."""

    value: bool
    function: Typed
    type: Type
    span: Span


Typed = (
    Literal
    | Local
    | Global
    | SizeOf
    | Call
    | TupleOf
    | RecordOf
    | ListOf
    | Field
    | IndexOf
    | BlockOf
    | Function
    | Branch
    | LoopOf
    | GradientOf
)


class Method(Frozen):
    """One method of a process, with its own solution."""

    name: str
    parameters: tuple[BindName, ...]
    body: BlockOf
    solution: Substitution
    type: Type


class Default(Frozen):
    """The default of a parameter, with its own solution."""

    value: Typed
    solution: Substitution


class Checked(Frozen):
    """A checked declaration.

    `body` is a block, or the methods of a process; `defaults` has the defaults of parameters.
    """

    symbol: Symbol
    declaration: NamedDeclaration
    parameters: tuple[BindName, ...]
    defaults: tuple[Default | None, ...]
    body: BlockOf | tuple[Method, ...] | None
    solution: Substitution
    type: Type


class CheckedTest(Frozen):
    title: str
    body: BlockOf
    solution: Substitution
    span: Span
