"""The tree the parser gives: what was written, nothing worked out.

Every node is a frozen value with a span that does not count in comparisons, so that
`parse(print(tree)) == tree`. Families are union aliases at the end of each part.
"""

from __future__ import annotations

from typing import ClassVar

from fedlang.frozen import Frozen
from fedlang.source import Source, Span


class Name(Frozen):
    """An identifier where it is written."""

    text: str
    span: Span


# ---- types as written ----


class NamedType(Frozen):
    """`float32`, `Example`, `Model[W, B]`, `float32[n][m]`: one tuple of arguments for each pair of brackets."""

    name: Name
    arguments: tuple[tuple[TypeArgument, ...], ...]
    span: Span


class AnyType(Frozen):
    """`_`, an anonymous type parameter."""

    span: Span


class RecordType(Frozen):
    """`{x: float32, y: int32}`."""

    fields: tuple[tuple[Name, TypeTree], ...]
    span: Span


class TupleType(Frozen):
    """`(A, B)`; `()` is the unit."""

    items: tuple[TypeTree, ...]
    span: Span


class SequenceType(Frozen):
    """`T*`."""

    element: TypeTree
    span: Span


class FunctionType(Frozen):
    """`(A, B) -> C`."""

    parameters: tuple[TypeTree, ...]
    result: TypeTree
    span: Span


class PlacedType(Frozen):
    """`T@SERVER`, `T@CLIENTS` (`each` false) or `<T>@CLIENTS` (`each` true). `place` is as written, not yet checked."""

    type: TypeTree
    place: Name
    each: bool
    span: Span


TypeTree = NamedType | AnyType | RecordType | TupleType | SequenceType | FunctionType | PlacedType


class IntegerDim(Frozen):
    """A size written as a number."""

    value: int
    span: Span


class UnknownDim(Frozen):
    """`?`."""

    span: Span


class BinaryDim(Frozen):
    """`n + 1`, `n - 1`, `n / 2` (the division must be exact)."""

    operator: str
    left: TypeArgument
    right: TypeArgument
    span: Span


class CallDim(Frozen):
    """`product(n, m)`, `ceil(n / 2)`, `floor(n / 2)`; after `...` also shape functions like `drop(s, axis)`."""

    function: Name
    arguments: tuple[TypeArgument, ...]
    span: Span


class Pack(Frozen):
    """`...s` or `...drop(s, axis)`: any number of dimensions."""

    shape: Name | CallDim
    span: Span


# A bare lower-case name is a `NamedType` without arguments until names are resolved.
TypeArgument = TypeTree | IntegerDim | UnknownDim | BinaryDim | CallDim | Pack


class TypeParameter(Frozen):
    """`T`, `T: Float`, `D: float`, `n`, `...s`."""

    name: Name
    bound: Name | None
    pack: bool
    span: Span


# ---- patterns ----


class NamePattern(Frozen):
    name: Name
    span: Span


class Wildcard(Frozen):
    span: Span


class TuplePattern(Frozen):
    items: tuple[Pattern, ...]
    span: Span


class RecordPattern(Frozen):
    """`{weights, slots}`: binds the fields named; others are left."""

    names: tuple[Name, ...]
    span: Span


Pattern = NamePattern | Wildcard | TuplePattern | RecordPattern

# ---- expressions ----


class Variable(Frozen):
    name: Name
    span: Span


class IntegerLiteral(Frozen):
    value: int
    text: str  # as written, for the printer: `60_000`
    span: Span


class FloatLiteral(Frozen):
    value: float
    text: str
    span: Span


class StringLiteral(Frozen):
    value: str  # without quotes, escapes replaced
    text: str  # as written, with quotes
    span: Span


class BoolLiteral(Frozen):
    value: bool
    span: Span


class TupleExpression(Frozen):
    """`(a, b)`; `()` is the unit. Parentheses around one expression leave no node."""

    items: tuple[Expression, ...]
    span: Span


class ListExpression(Frozen):
    """`[a, b]`: a tensor of its items, or in a test the values of the clients."""

    items: tuple[Expression, ...]
    span: Span


class RecordField(Frozen):
    """`name: value`, or the pun `name` (then `value` is the variable of that name and `pun` is true)."""

    name: Name
    value: Expression
    pun: bool
    span: Span


class Spread(Frozen):
    """`..record`: its fields, which later ones replace."""

    value: Expression
    span: Span


class RecordExpression(Frozen):
    items: tuple[RecordField | Spread, ...]
    span: Span


class FieldAccess(Frozen):
    target: Expression
    name: Name
    span: Span


class Argument(Frozen):
    """One argument of a call, by position or by name."""

    name: Name | None
    value: Expression
    span: Span


class Call(Frozen):
    function: Expression
    arguments: tuple[Argument, ...]
    span: Span


class Slice(Frozen):
    """`a:b` between index brackets; either end may be missing."""

    start: Expression | None
    stop: Expression | None
    span: Span


class Index(Frozen):
    """`x[i, a:b]`; also type arguments, `zeros[Weights]`: names/ tells them apart."""

    target: Expression
    items: tuple[Expression | Slice, ...]
    span: Span


class Unary(Frozen):
    """`-x` or `not x`."""

    operator: str
    operand: Expression
    span: Span


class Binary(Frozen):
    """`+ - * / // % @ == != < <= > >= and or`. `operator_span` covers the sign alone."""

    operator: str
    left: Expression
    right: Expression
    operator_span: Span
    span: Span


class Parameter(Frozen):
    """`name`, `name: type`, `name: type = default`; a pattern is allowed only as `_`."""

    name: Name  # "_" for one that is not read
    type: TypeTree | None
    default: Expression | None
    span: Span


class Lambda(Frozen):
    """`fn (x) => e` (a block with no statements, `arrow` true) or `fn (x) { … }`."""

    parameters: tuple[Parameter, ...]
    result: TypeTree | None
    body: Block
    arrow: bool
    span: Span


class If(Frozen):
    condition: Expression
    then: Block
    otherwise: Block  # `else if` is a block that holds the inner `If` alone
    span: Span


class Loop(Frozen):
    """`fold P in xs from a as now {…}`, `scan …`, `repeat n from a as now {…}`.

    `over` is the sequence, or the count of `repeat`, whose `element` is None.
    """

    kind: str  # "fold" | "scan" | "repeat"
    element: Pattern | None
    over: Expression
    start: Expression
    state: Pattern
    body: Block
    span: Span


Expression = (
    Variable
    | IntegerLiteral
    | FloatLiteral
    | StringLiteral
    | BoolLiteral
    | TupleExpression
    | ListExpression
    | RecordExpression
    | FieldAccess
    | Call
    | Index
    | Unary
    | Binary
    | Lambda
    | If
    | Loop
)


class Let(Frozen):
    pattern: Pattern
    type: TypeTree | None
    value: Expression
    span: Span


class Effect(Frozen):
    """`expect(…)`, `print(…)` or `probe(…)` on a line of its own."""

    kind: str
    arguments: tuple[Argument, ...]
    span: Span


Statement = Let | Effect


class Block(Frozen):
    """Statements, then the value. Only a test's block may lack the value; it is then the unit."""

    statements: tuple[Statement, ...]
    value: Expression
    span: Span


# ---- declarations ----


class Import(Frozen):
    """`import random` (names empty: binds the module) or `import learning.model (Model, count)`."""

    module: tuple[Name, ...]
    names: tuple[Name, ...]
    span: Span


class Allow(Frozen):
    """`allow collect`."""

    name: Name
    span: Span


class TypeDeclaration(Frozen):
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    type: TypeTree
    documentation: str
    span: Span


class FunctionDeclaration(Frozen):
    """`fn` (`kind` "fn") or `fed` (`kind` "fed")."""

    kind: str
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    result: TypeTree | None
    body: Block
    documentation: str
    span: Span


class ExternDeclaration(Frozen):
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    result: TypeTree
    documentation: str
    span: Span


class PrimitiveDeclaration(Frozen):
    """`prim elementwise exp[T: Float](x: T) -> T  derivative (dy) => dy * result`.

    `group` is the class that says how the operation batches over clients. `derivative` is a lambda
    whose parameters are the cotangents of the result; None where it says `derivative none` or has no clause.
    """

    group: Name
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    result: TypeTree
    derivative: Lambda | None
    documentation: str
    span: Span


class Method(Frozen):
    name: Name
    parameters: tuple[Parameter, ...]
    result: TypeTree | None
    body: Block
    documentation: str
    span: Span


class ProcessDeclaration(Frozen):
    """A process given by its methods, or (`= expression`) by another process."""

    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    body: tuple[Method, ...] | Expression
    documentation: str
    span: Span


class TestDeclaration(Frozen):
    __test__: ClassVar[bool] = False  # not a test of pytest's

    title: str
    body: Block
    span: Span


Declaration = (
    Import
    | Allow
    | TypeDeclaration
    | FunctionDeclaration
    | ExternDeclaration
    | PrimitiveDeclaration
    | ProcessDeclaration
    | TestDeclaration
)


class Module(Frozen):
    """A parsed file. `documentation` is the file's leading `##` lines when a blank line or an import follows them."""

    source: Source
    declarations: tuple[Declaration, ...]
    documentation: str
