"""Builds the tree while Lark reduces: one method for each rule of the grammar, named like it.

In: a rule's children from left to right, its tokens included, None for what `[ ]` left out. Out: a node of `tree`.
Children are built before their parents, so nothing here recurses. What the grammar allows but the language does not
(a chained comparison, a block without a value) is noted in `problems`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from lark.lexer import Token

from fedlang.diagnostics import Diagnostic
from fedlang.source import Source, Span
from fedlang.syntax import errors
from fedlang.syntax import tree as t
from fedlang.syntax.limits import LONGEST_INTEGER
from fedlang.syntax.pieces import documentation_before

Children = list[Any]  # Lark's value stack: tokens, nodes, `Listed` and None

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"'}


class Listed(NamedTuple):
    """What stands between one pair of brackets."""

    items: tuple[Any, ...]
    span: Span


def _start(child: Any) -> int:
    return cast(int, child.start_pos if isinstance(child, Token) else child.span.start)


def _end(child: Any) -> int:
    return cast(int, child.end_pos if isinstance(child, Token) else child.span.end)


def _nodes(children: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(each for each in children if not isinstance(each, Token))


def _items(listed: Listed | None) -> tuple[Any, ...]:
    return listed.items if listed else ()


class Builder:
    """The callbacks of one parser. `begin` comes before each text, `problems` is read after it."""

    def __init__(self) -> None:
        self.begin(Source("", ""))

    def begin(self, source: Source) -> None:
        """Forgets the last text and builds spans into `source`."""
        self.source = source
        self.noted: list[Diagnostic] = []
        self.valueless: dict[int, t.Block] = {}

    @property
    def problems(self) -> list[Diagnostic]:
        """The mistakes seen since `begin`."""
        return self.noted + [errors.missing_value(each) for each in self.valueless.values()]

    def span(self, children: Children) -> Span:
        """From the first child to the last that is there."""
        last = next(each for each in reversed(children) if each is not None)
        return Span(self.source, _start(children[0]), _end(last))

    def between(self, first: Any, last: Any) -> Span:
        """From one child to another."""
        return Span(self.source, _start(first), _end(last))

    def token(self, token: Token) -> Span:
        """A token's own span."""
        return Span(self.source, token.start_pos, token.end_pos)  # type: ignore[arg-type]

    def listed(self, children: Children) -> Listed:
        return Listed(_nodes(children), self.span(children))

    def documentation(self, first: Token | t.Name) -> str:
        return documentation_before(self.source.text, _start(first))

    def group(self, c: Children) -> Any:
        """Parentheses leave no node, but the node's span covers them."""
        object.__setattr__(c[1], "span", self.span(c))
        return c[1]

    def NAME(self, token: Token) -> t.Name:
        return t.Name(token.value, self.token(token))

    # ---- declarations ----

    path = listed
    import_names = listed

    def import_declaration(self, c: Children) -> t.Import:
        return t.Import(c[1].items, _items(c[2]), self.span(c))

    def allow(self, c: Children) -> t.Allow:
        return t.Allow(c[1], self.span(c))

    def type_declaration(self, c: Children) -> t.TypeDeclaration:
        return t.TypeDeclaration(c[1], _items(c[2]), c[4], self.documentation(c[0]), self.span(c))

    def function(self, c: Children) -> t.FunctionDeclaration:
        kind, name, type_parameters, parameters, result, body = c
        documentation = self.documentation(kind)
        return t.FunctionDeclaration(
            kind.value, name, _items(type_parameters), parameters.items, result, body, documentation, self.span(c)
        )

    def extern(self, c: Children) -> t.ExternDeclaration:
        _, _, name, type_parameters, parameters, result = c
        documentation = self.documentation(c[0])
        return t.ExternDeclaration(name, _items(type_parameters), parameters.items, result, documentation, self.span(c))

    def primitive(self, c: Children) -> t.PrimitiveDeclaration:
        _, group, name, type_parameters, parameters, result, derivative = c
        documentation, rule = self.documentation(c[0]), None if isinstance(derivative, Token) else derivative
        types = _items(type_parameters)
        return t.PrimitiveDeclaration(group, name, types, parameters.items, result, rule, documentation, self.span(c))

    def derivative(self, c: Children) -> t.Lambda:
        return self.arrow_lambda([c[0], c[1], None, c[2], c[3]])

    def no_derivative(self, c: Children) -> Token:
        word: t.Name = c[1]
        if word.text != "none":
            self.noted.append(errors.not_none(word))
        start, end = _start(c[0]), word.span.end
        return Token("DERIVATIVE", "derivative", start_pos=start, end_pos=end)

    def process(self, c: Children) -> t.ProcessDeclaration:
        _, name, type_parameters, parameters, methods = c
        documentation, types = self.documentation(c[0]), _items(type_parameters)
        return t.ProcessDeclaration(name, types, _items(parameters), methods.items, documentation, self.span(c))

    def process_value(self, c: Children) -> t.ProcessDeclaration:
        _, name, type_parameters, parameters, _, value = c
        documentation, types = self.documentation(c[0]), _items(type_parameters)
        return t.ProcessDeclaration(name, types, _items(parameters), value, documentation, self.span(c))

    methods = listed

    def method(self, c: Children) -> t.Method:
        return t.Method(c[0], c[1].items, c[2], c[3], self.documentation(c[0]), self.span(c))

    def test(self, c: Children) -> t.TestDeclaration:
        self.valueless.pop(id(c[2]), None)
        return t.TestDeclaration(self.string_literal(c[1:2]).value, c[2], self.span(c))

    type_parameters = listed

    def type_parameter(self, c: Children) -> t.TypeParameter:
        return t.TypeParameter(c[0], c[2], False, self.span(c))

    def pack_parameter(self, c: Children) -> t.TypeParameter:
        return t.TypeParameter(c[1], None, True, self.span(c))

    parameters = listed

    def parameter(self, c: Children) -> t.Parameter:
        name = self.NAME(c[0]) if isinstance(c[0], Token) else c[0]
        return t.Parameter(name, c[2], c[4], self.span(c))

    def result(self, c: Children) -> t.TypeTree:
        return c[1]  # type: ignore[no-any-return]

    # ---- types ----

    def named_type(self, c: Children) -> t.NamedType:
        return t.NamedType(c[0], tuple(each.items for each in c[1:]), self.span(c))

    type_arguments = listed
    dimensions = listed

    def any_type(self, c: Children) -> t.AnyType:
        return t.AnyType(self.span(c))

    def record_type(self, c: Children) -> t.RecordType:
        return t.RecordType(tuple(each.items for each in _nodes(c)), self.span(c))

    def type_field(self, c: Children) -> Listed:
        return Listed((c[0], c[2]), self.span(c))

    def tuple_type(self, c: Children) -> t.TupleType:
        return t.TupleType(_nodes(c), self.span(c))

    def sequence(self, c: Children) -> t.SequenceType:
        return t.SequenceType(c[0], self.span(c))

    def function_type(self, c: Children) -> t.FunctionType:
        *parameters, result = _nodes(c)
        return t.FunctionType(tuple(parameters), result, self.span(c))

    def placed_type(self, c: Children) -> t.PlacedType:
        return t.PlacedType(c[0], c[2], False, self.span(c))

    def each_type(self, c: Children) -> t.PlacedType:
        return t.PlacedType(c[1], c[4], True, self.span(c))

    def unknown(self, c: Children) -> t.UnknownDim:
        return t.UnknownDim(self.span(c))

    def pack(self, c: Children) -> t.Pack:
        return t.Pack(c[1], self.span(c))

    def pack_call(self, c: Children) -> t.Pack:
        return t.Pack(self.dimension_call(c[1:]), self.span(c))

    def dimension_number(self, c: Children) -> t.IntegerDim:
        return t.IntegerDim(self.integer(c[0]), self.span(c))

    def negative_number(self, c: Children) -> t.IntegerDim:
        return t.IntegerDim(-self.integer(c[1]), self.span(c))

    def dimension_name(self, c: Children) -> t.NamedType:
        return t.NamedType(c[0], (), self.span(c))

    def dimension_call(self, c: Children) -> t.CallDim:
        return t.CallDim(c[0], c[1].items, self.span(c))

    def dimension_sum(self, c: Children) -> t.BinaryDim:
        return t.BinaryDim(c[1].value, c[0], c[2], self.span(c))

    dimension_quotient = dimension_sum

    # ---- statements ----

    def block(self, c: Children) -> t.Block:
        lines = _nodes(c)
        statements, value = (lines[:-1], lines[-1]) if lines else ((), None)
        for each in statements:
            if not isinstance(each, t.Let | t.Effect):
                self.noted.append(errors.unused_value(each.span))
        if value is not None and not isinstance(value, t.Let | t.Effect):
            return t.Block(statements, value, self.span(c))
        end = _start(c[-1])
        block = t.Block(lines, t.TupleExpression((), Span(self.source, end, end)), self.span(c))
        self.valueless[id(block)] = block
        return block

    def let(self, c: Children) -> t.Let:
        return t.Let(c[1], c[3], c[5], self.span(c))

    def effect(self, c: Children) -> t.Effect:
        return t.Effect(c[0].value, c[1].items, self.span(c))

    def name_pattern(self, c: Children) -> t.NamePattern:
        return t.NamePattern(c[0], self.span(c))

    def wildcard(self, c: Children) -> t.Wildcard:
        return t.Wildcard(self.span(c))

    def tuple_pattern(self, c: Children) -> t.TuplePattern:
        return t.TuplePattern(_nodes(c), self.span(c))

    def record_pattern(self, c: Children) -> t.RecordPattern:
        return t.RecordPattern(_nodes(c), self.span(c))

    # ---- expressions ----

    def arrow_lambda(self, c: Children) -> t.Lambda:
        body = t.Block((), c[4], c[4].span)
        return t.Lambda(c[1].items, c[2], body, True, self.span(c))

    def block_lambda(self, c: Children) -> t.Lambda:
        return t.Lambda(c[1].items, c[2], c[3], False, self.span(c))

    def loop(self, c: Children) -> t.Loop:
        kind, element, _, over, _, start, _, state, body = c
        return t.Loop(kind.value, element, over, start, state, body, self.span(c))

    def repeat(self, c: Children) -> t.Loop:
        kind, over, _, start, _, state, body = c
        return t.Loop(kind.value, None, over, start, state, body, self.span(c))

    def conditional(self, c: Children) -> t.If:
        otherwise = c[4] if isinstance(c[4], t.Block) else t.Block((), c[4], c[4].span)
        return t.If(c[1], c[2], otherwise, self.span(c))

    def binary(self, c: Children) -> t.Binary:
        return t.Binary(c[1].value, c[0], c[2], self.token(c[1]), self.span(c))

    def comparison(self, c: Children) -> t.Binary:
        left = c[0]
        grouped = isinstance(left, t.Binary) and left.span.start < left.left.span.start
        if isinstance(left, t.Binary) and left.operator in errors.COMPARISONS and not grouped:
            self.noted.append(errors.chained_comparison(left, c[1].value, self.token(c[1]), c[2].span))
        return self.binary(c)

    def unary(self, c: Children) -> t.Unary:
        return t.Unary(c[0].value, c[1], self.span(c))

    def field_access(self, c: Children) -> t.FieldAccess:
        return t.FieldAccess(c[0], c[2], self.span(c))

    def call(self, c: Children) -> t.Call:
        return t.Call(c[0], c[1].items, self.span(c))

    def index(self, c: Children) -> t.Index:
        return t.Index(c[0], _nodes(c[1:]), self.span(c))

    def slice_item(self, c: Children) -> t.Slice:
        start, colon, stop = c
        return t.Slice(start, stop, self.between(start or colon, stop or colon))

    arguments = listed

    def argument(self, c: Children) -> t.Argument:
        return t.Argument(None, c[0], c[0].span)

    def named_argument(self, c: Children) -> t.Argument:
        return t.Argument(c[0], c[2], self.span(c))

    def variable(self, c: Children) -> t.Variable:
        return t.Variable(c[0], c[0].span)

    def integer(self, token: Token) -> int:
        """The value of an INT token."""
        if len(token) > LONGEST_INTEGER:
            self.noted.append(errors.long_number(self.token(token)))
            return 0
        return int(token.replace("_", ""), 16 if token.startswith("0x") else 10)

    def integer_literal(self, c: Children) -> t.IntegerLiteral:
        return t.IntegerLiteral(self.integer(c[0]), c[0].value, self.span(c))

    def float_literal(self, c: Children) -> t.FloatLiteral:
        value = float(c[0].replace("_", ""))
        if value in (float("inf"), float("-inf")):
            self.noted.append(errors.large_float(self.span(c)))
        return t.FloatLiteral(value, c[0].value, self.span(c))

    def string_literal(self, c: Children) -> t.StringLiteral:
        text: str = c[0].value
        value = self.unescaped(text, c[0].start_pos) if "\\" in text else text[1:-1]
        return t.StringLiteral(value, text, self.span(c))

    def unescaped(self, text: str, offset: int) -> str:
        """The characters a quoted string stands for."""

        def meant(found: re.Match[str]) -> str:
            if found.group(1) not in ESCAPES:
                start = offset + 1 + found.start()
                self.noted.append(errors.unknown_escape(Span(self.source, start, start + 2)))
            return ESCAPES.get(found.group(1), "")

        return re.sub(r"\\(.)", meant, text[1:-1])

    def bool_literal(self, c: Children) -> t.BoolLiteral:
        return t.BoolLiteral(c[0].value == "true", self.span(c))

    def tuple_expression(self, c: Children) -> t.TupleExpression:
        return t.TupleExpression(_nodes(c), self.span(c))

    def list_expression(self, c: Children) -> t.ListExpression:
        return t.ListExpression(_nodes(c), self.span(c))

    def record_expression(self, c: Children) -> t.RecordExpression:
        return t.RecordExpression(_nodes(c), self.span(c))

    def record_field(self, c: Children) -> t.RecordField:
        return t.RecordField(c[0], c[2], False, self.span(c))

    def pun(self, c: Children) -> t.RecordField:
        return t.RecordField(c[0], t.Variable(c[0], c[0].span), True, c[0].span)

    def spread(self, c: Children) -> t.Spread:
        return t.Spread(c[1], self.span(c))
