"""The tree the parser gives: what was written, nothing worked out.

Every node is a frozen value with a span that does not count in comparisons, so that
`parse(print(tree)) == tree`. Families are union aliases at the end of each part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedlang.source import Source, Span


def _span() -> Span:
    return field(compare=False, repr=False)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier where it is written."""

    text: str
    span: Span = _span()


# ---- types as written ----


@dataclass(frozen=True, slots=True)
class NamedType:
    """`float32`, `Example`, `Model[W, B]`, `float32[n][m]`: one tuple of arguments for each pair of brackets."""

    name: Name
    arguments: tuple[tuple[TypeArgument, ...], ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class AnyType:
    """`_`, an anonymous type parameter."""

    span: Span = _span()


@dataclass(frozen=True, slots=True)
class RecordType:
    """`{x: float32, y: int32}`."""

    fields: tuple[tuple[Name, TypeTree], ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TupleType:
    """`(A, B)`; `()` is the unit."""

    items: tuple[TypeTree, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class SequenceType:
    """`T*`."""

    element: TypeTree
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class FunctionType:
    """`(A, B) -> C`."""

    parameters: tuple[TypeTree, ...]
    result: TypeTree
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class PlacedType:
    """`T@SERVER`, `T@CLIENTS` (`each` false) or `<T>@CLIENTS` (`each` true). `place` is as written, not yet checked."""

    type: TypeTree
    place: Name
    each: bool
    span: Span = _span()


TypeTree = NamedType | AnyType | RecordType | TupleType | SequenceType | FunctionType | PlacedType


@dataclass(frozen=True, slots=True)
class IntegerDim:
    """A size written as a number."""

    value: int
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class UnknownDim:
    """`?`."""

    span: Span = _span()


@dataclass(frozen=True, slots=True)
class BinaryDim:
    """`n + 1`, `n - 1`, `n / 2` (the division must be exact)."""

    operator: str
    left: TypeArgument
    right: TypeArgument
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class CallDim:
    """`product(n, m)`, `ceil(n / 2)`, `floor(n / 2)`; after `...` also `drop(s, axis)` and the other shape functions."""

    function: Name
    arguments: tuple[TypeArgument, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Pack:
    """`...s` or `...drop(s, axis)`: any number of dimensions."""

    shape: Name | CallDim
    span: Span = _span()


# A bare lower-case name is a `NamedType` without arguments until names are resolved.
TypeArgument = TypeTree | IntegerDim | UnknownDim | BinaryDim | CallDim | Pack


@dataclass(frozen=True, slots=True)
class TypeParameter:
    """`T`, `T: Float`, `D: float`, `n`, `...s`."""

    name: Name
    bound: Name | None
    pack: bool
    span: Span = _span()


# ---- patterns ----


@dataclass(frozen=True, slots=True)
class NamePattern:
    name: Name
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Wildcard:
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TuplePattern:
    items: tuple[Pattern, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class RecordPattern:
    """`{weights, slots}`: binds the fields named; others are left."""

    names: tuple[Name, ...]
    span: Span = _span()


Pattern = NamePattern | Wildcard | TuplePattern | RecordPattern

# ---- expressions ----


@dataclass(frozen=True, slots=True)
class Variable:
    name: Name
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class IntegerLiteral:
    value: int
    text: str  # as written, for the printer: `60_000`
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class FloatLiteral:
    value: float
    text: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class StringLiteral:
    value: str  # without quotes, escapes replaced
    text: str  # as written, with quotes
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class BoolLiteral:
    value: bool
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TupleExpression:
    """`(a, b)`; `()` is the unit. Parentheses around one expression leave no node."""

    items: tuple[Expression, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ListExpression:
    """`[a, b]`: a tensor of its items, or in a test the values of the clients."""

    items: tuple[Expression, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class RecordField:
    """`name: value`, or the pun `name` (then `value` is the variable of that name and `pun` is true)."""

    name: Name
    value: Expression
    pun: bool
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Spread:
    """`..record`: its fields, which later ones replace."""

    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class RecordExpression:
    items: tuple[RecordField | Spread, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class FieldAccess:
    target: Expression
    name: Name
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call, by position or by name."""

    name: Name | None
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Call:
    function: Expression
    arguments: tuple[Argument, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Slice:
    """`a:b` between index brackets; either end may be missing."""

    start: Expression | None
    stop: Expression | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Index:
    """`x[i, a:b]`; also type arguments, `zeros[Weights]`: names/ tells them apart."""

    target: Expression
    items: tuple[Expression | Slice, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` or `not x`."""

    operator: str
    operand: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Binary:
    """`+ - * / // % @ == != < <= > >= and or`. `operator_span` covers the sign alone."""

    operator: str
    left: Expression
    right: Expression
    operator_span: Span = _span()
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Parameter:
    """`name`, `name: type`, `name: type = default`; a pattern is allowed only as `_`."""

    name: Name  # "_" for one that is not read
    type: TypeTree | None
    default: Expression | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Lambda:
    """`fn (x) => e` (a block with no statements, `arrow` true) or `fn (x) { … }`."""

    parameters: tuple[Parameter, ...]
    result: TypeTree | None
    body: Block
    arrow: bool
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class If:
    condition: Expression
    then: Block
    otherwise: Block  # `else if` is a block that holds the inner `If` alone
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Loop:
    """`fold P in xs from a as now {…}`, `scan …`, `repeat n from a as now {…}`.

    `over` is the sequence, or the count of `repeat`, whose `element` is None.
    """

    kind: str  # "fold" | "scan" | "repeat"
    element: Pattern | None
    over: Expression
    start: Expression
    state: Pattern
    body: Block
    span: Span = _span()


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


@dataclass(frozen=True, slots=True)
class Let:
    pattern: Pattern
    type: TypeTree | None
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Effect:
    """`expect(…)`, `print(…)` or `probe(…)` on a line of its own."""

    kind: str
    arguments: tuple[Argument, ...]
    span: Span = _span()


Statement = Let | Effect


@dataclass(frozen=True, slots=True)
class Block:
    """Statements, then the value. Only a test's block may lack the value; it is then the unit."""

    statements: tuple[Statement, ...]
    value: Expression
    span: Span = _span()


# ---- declarations ----


@dataclass(frozen=True, slots=True)
class Import:
    """`import random` (names empty: binds the module) or `import learning.model (Model, count)`."""

    module: tuple[Name, ...]
    names: tuple[Name, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Allow:
    """`allow collect`."""

    name: Name
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TypeDeclaration:
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    type: TypeTree
    documentation: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class FunctionDeclaration:
    """`fn` (`kind` "fn") or `fed` (`kind` "fed")."""

    kind: str
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    result: TypeTree | None
    body: Block
    documentation: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ExternDeclaration:
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    result: TypeTree
    documentation: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class PrimitiveDeclaration:
    """`prim elementwise exp[T: Float](x: T) -> T  derivative (dy) => dy * result`.

    `group` is the class that says how the operation batches over clients. `derivative` is a lambda
    whose parameters are the cotangents of the result; `differentiable` is false where it says `derivative none`
    or has no clause (then `derivative` is None).
    """

    group: Name
    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    result: TypeTree
    derivative: Lambda | None
    documentation: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Method:
    name: Name
    parameters: tuple[Parameter, ...]
    result: TypeTree | None
    body: Block
    documentation: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ProcessDeclaration:
    """A process given by its methods, or (`= expression`) by another process."""

    name: Name
    type_parameters: tuple[TypeParameter, ...]
    parameters: tuple[Parameter, ...]
    body: tuple[Method, ...] | Expression
    documentation: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TestDeclaration:
    __test__ = False  # not a test of pytest's

    title: str
    body: Block
    span: Span = _span()


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


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed file. `documentation` is the file's leading `##` lines when a blank line or an import follows them."""

    source: Source = field(compare=False, repr=False)
    declarations: tuple[Declaration, ...]
    documentation: str
