"""The one style of fedlang's text: `print_module` is the formatter behind `fed fmt`.

In: a tree without mistakes, with the source its spans point into. Out: text that parses to an equal tree.
Comments stay, as do single blank lines, and line breaks between the items of a list; all other blanks are the
printer's. Lists fill their lines below their first item; one opened at the end of a line has one item a line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar, assert_never

from fedlang.frozen import Frozen
from fedlang.source import Source, Span
from fedlang.syntax import tree as t
from fedlang.syntax.comments import Comments
from fedlang.syntax.layout import HARD, LINE, Align, Doc, Group, Nest, Soft, cat, joined, layout
from fedlang.syntax.parser import Parsed, parse

WIDTH = 100
STEP = 2
CONTINUATION = 4
DEEPEST_RECURSION = 20_000  # the parser lets no tree deeper than 1,200 levels through

LOWEST, COMPARISON, SUM, PREFIX, POSTFIX, ATOM = 0, 4, 5, 7, 8, 9
LEVELS = {"or": 1, "and": 2, "not": 3, "+": SUM, "-": SUM, "*": 6, "/": 6, "//": 6, "%": 6, "@": 6}
OPERAND = 1  # what stands between the words of `if` and of loops


_TITLE = re.compile(r'test\s*("(?:\\.|[^"\\\n])*")')


class Spanned(Protocol):
    """What has a place in the source."""

    @property
    def span(self) -> Span: ...


Node = TypeVar("Node", bound=Spanned)


def print_module(parsed: Parsed) -> str:
    """The file in the one style. Printed again until it stays the same, so that formatting twice changes nothing."""
    text = _print_once(parsed)
    for _ in range(4):
        again = _print_once(parse(Source(parsed.module.source.path, text)))
        if again == text:
            break
        text = again
    return text


def print_expression(expression: t.Expression) -> str:
    """An expression on as few lines as its width allows."""
    with _deep_recursion():
        return layout(_Printer(expression.span.source, ()).expression(expression), WIDTH)


def print_type(tree: t.TypeArgument) -> str:
    """A type, or what may stand between the brackets of one."""
    with _deep_recursion():
        return layout(_Printer(tree.span.source, ()).type_argument(tree), WIDTH)


def _print_once(parsed: Parsed) -> str:
    with _deep_recursion():
        printer = _Printer(parsed.module.source, parsed.comments)
        end = len(parsed.module.source.text)
        text = layout(printer.stacked(parsed.module.declarations, printer.declaration, end), WIDTH)
    return f"{text.strip()}\n" if text.strip() else ""


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST_RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class _Printer:
    def __init__(self, source: Source, comments: tuple[Span, ...]) -> None:
        self.text = source.text
        self.comments = Comments(source, comments)

    # ---- lines and lists ----

    def stacked(self, nodes: Sequence[Node], build: Callable[[Node], Doc], end: int) -> Doc:
        """Nodes below each other, with their comments and single blank lines, up to the offset `end`."""
        rows: list[Doc] = []
        previous = end

        def add(doc: Doc, start: int, stop: int) -> None:
            nonlocal previous
            if rows and self.comments.blank_line(previous, start):
                rows.append("")
            rows.append(doc)
            previous = stop

        for node in nodes:
            for comment in self.comments.before(node.span.start):
                add(self.comments.moved(comment), comment.start, comment.end)
            doc = build(node)
            for comment in self.comments.before(node.span.end):  # inside, where no line of its own could hold it
                add(f"#{comment.text.rstrip().lstrip('#')}", node.span.start, node.span.start)
            beside = self.comments.beside(node.span.end)
            add(self.with_comment(doc, beside), node.span.start, beside.end if beside else node.span.end)
        for comment in self.comments.before(end):
            add(self.comments.moved(comment), comment.start, comment.end)
        return joined(HARD, rows)

    def with_comment(self, doc: Doc, comment: Span | None) -> Doc:
        return cat(doc, "  ", comment.text.rstrip()) if comment else doc

    def newline(self, start: int, end: int) -> bool:
        return "\n" in self.text[start:end]

    def listed(
        self, opening: str, nodes: Sequence[Node], build: Callable[[Node], Doc], closing: str, span: Span
    ) -> Doc:
        """Items between brackets, whose closing one is the last character of `span`."""
        if not nodes:
            return opening + closing
        start = self.text.rfind(opening, span.start, nodes[0].span.start) if self.text else -1
        if start >= 0 and self.newline(start, nodes[0].span.start):
            return self.exploded(opening, nodes, build, closing, span)
        items = self.filled(nodes, build)
        if self.comments.any_before(span.end):
            rest: list[Doc] = [each.text.rstrip() for each in self.comments.before(span.end)]
            return cat(opening, Align(cat(items, HARD, joined(HARD, rest), HARD, closing)))
        return cat(opening, items if _hugs(nodes[-1]) else Align(items), closing)

    def exploded(
        self, opening: str, nodes: Sequence[Node], build: Callable[[Node], Doc], closing: str, span: Span
    ) -> Doc:
        rows = self.stacked(nodes, lambda node: cat(build(node), ","), span.end)
        return cat(opening, Nest(STEP, cat(HARD, rows)), HARD, closing)

    def filled(self, nodes: Sequence[Node], build: Callable[[Node], Doc]) -> Doc:
        parts: list[Doc] = []
        previous = nodes[0].span.start
        broken = False
        for node in nodes:
            above: list[Doc] = [each.text.rstrip() for each in self.comments.before(node.span.start)]
            broken = broken or bool(above) or self.newline(previous, node.span.start)
            doc = build(node)
            comma = "," if node is not nodes[-1] else ""
            beside = self.comments.beside(node.span.end) if comma else None
            doc = self.with_comment(cat(doc, comma), beside)
            if broken:
                parts += [*([HARD] if parts else []), joined(HARD, [*above, doc])]
            else:
                parts.append(Soft(doc) if parts else doc)
            broken = beside is not None
            previous = beside.end if beside else node.span.end
        return cat(*parts)

    # ---- declarations ----

    def declaration(self, node: t.Declaration) -> Doc:
        match node:
            case t.Import(module, names, span):
                path = ".".join(each.text for each in module)
                return cat(f"import {path} ", self.listed("(", names, _name, ")", span)) if names else f"import {path}"
            case t.Allow(name):
                return f"allow {name.text}"
            case t.TypeDeclaration(name, type_parameters, type_):
                head = self.head("type", name, type_parameters)
                return cat(head, " = ", self.type(type_))
            case t.FunctionDeclaration(kind, name, type_parameters, parameters, result, body):
                head = self.head(kind, name, type_parameters)
                return cat(
                    head, self.signature(name, type_parameters, parameters, result, body.span), " ", self.block(body)
                )
            case t.ExternDeclaration(name, type_parameters, parameters, result):
                head = self.head("extern fn", name, type_parameters)
                return cat(head, self.signature(name, type_parameters, parameters, result, result.span))
            case t.PrimitiveDeclaration(group, name, type_parameters, parameters, result, derivative):
                head = self.head(f"prim {group.text}", name, type_parameters)
                signature = self.signature(name, type_parameters, parameters, result, result.span)
                return cat(head, signature, Nest(STEP, self.derivative(node, derivative)))
            case t.ProcessDeclaration():
                return self.process(node)
            case t.TestDeclaration(title, body):
                return cat("test ", self.title(node, title), " ", self.block(body, is_test=True))
            case _:
                assert_never(node)

    def title(self, node: t.TestDeclaration, title: str) -> str:
        written = _TITLE.match(self.text, node.span.start)
        return written.group(1) if written else _quoted(title)

    def head(self, word: str, name: t.Name, type_parameters: tuple[t.TypeParameter, ...]) -> Doc:
        if not type_parameters:
            return f"{word} {name.text}"
        end = self.text.find("]", type_parameters[-1].span.end) + 1
        span = Span(name.span.source, name.span.end, end)
        return cat(f"{word} {name.text}", self.listed("[", type_parameters, self.type_parameter, "]", span))

    def type_parameter(self, node: t.TypeParameter) -> Doc:
        bound = f": {node.bound.text}" if node.bound else ""
        return f"{'...' if node.pack else ''}{node.name.text}{bound}"

    def signature(
        self,
        name: t.Name,
        type_parameters: tuple[t.TypeParameter, ...],
        parameters: tuple[t.Parameter, ...],
        result: t.TypeTree | None,
        following: Span,
    ) -> Doc:
        """Parameters and result; `following` is what comes next."""
        start = type_parameters[-1].span.end if type_parameters else name.span.end
        end = result.span.start if result else following.start
        close = self.text.rfind(")", parameters[-1].span.end, end) + 1 if parameters else end
        doc = self.listed("(", parameters, self.parameter, ")", Span(name.span.source, start, close))
        return cat(doc, Nest(CONTINUATION, Soft(cat("-> ", self.type(result))))) if result else doc

    def parameter(self, node: t.Parameter) -> Doc:
        parts: list[Doc] = [node.name.text]
        parts += [": ", self.type(node.type)] if node.type else []
        parts += [" = ", self.expression(node.default)] if node.default else []
        return cat(*parts)

    def derivative(self, node: t.PrimitiveDeclaration, rule: t.Lambda | None) -> Doc:
        if rule:
            start = rule.span.start
            parameters = self.listed("(", rule.parameters, self.parameter, ")", Span(rule.span.source, start, start))
            return cat(HARD, "derivative ", parameters, " =>", self.after_arrow(rule.body.value))
        return cat(HARD, "derivative none") if node.span.end > node.result.span.end else ""

    def process(self, node: t.ProcessDeclaration) -> Doc:
        head = self.head("process", node.name, node.type_parameters)
        body = node.body
        if node.parameters or self.has_parentheses(node):
            end = body.span.start if not isinstance(body, tuple) else body[0].span.start if body else node.span.end
            here = Span(node.span.source, end, end)
            head = cat(head, self.signature(node.name, node.type_parameters, node.parameters, None, here))
        if not isinstance(body, tuple):
            return Group(cat(head, Nest(STEP, cat(LINE, "= ", self.expression(body)))))
        if not body and not self.comments.any_before(node.span.end):
            return cat(head, " {}")
        rows = self.stacked(body, self.method, node.span.end)
        return cat(head, " {", Nest(STEP, cat(HARD, rows)), HARD, "}")

    def has_parentheses(self, node: t.ProcessDeclaration) -> bool:
        """`process p()` and `process p` mean the same: what was written stays."""
        start = node.type_parameters[-1].span.end if node.type_parameters else node.name.span.end
        return self.text[start : start + 400].lstrip(" \t\r\n,]").startswith("(")

    def method(self, node: t.Method) -> Doc:
        signature = self.signature(node.name, (), node.parameters, node.result, node.body.span)
        return cat(node.name.text, signature, " ", self.block(node.body))

    # ---- types ----

    def type(self, node: t.TypeTree) -> Doc:
        match node:
            case t.NamedType(name, arguments):
                return cat(
                    name.text, *(self.listed("[", each, self.type_argument, "]", node.span) for each in arguments)
                )
            case t.AnyType():
                return "_"
            case t.RecordType(fields, span):
                items = [_Field(*each) for each in fields]
                return self.listed("{", items, lambda each: cat(each.name.text, ": ", self.type(each.type)), "}", span)
            case t.TupleType(items, span):
                return self.listed("(", items, self.type, ")", span)
            case t.SequenceType(element):
                return cat(self.tight_type(element), "*")
            case t.FunctionType(parameters, result, span):
                end = result.span.start
                return cat(
                    self.listed("(", parameters, self.type, ")", Span(span.source, span.start, end)),
                    " -> ",
                    self.type(result),
                )
            case t.PlacedType(inner, place, each):
                return (
                    cat("<", self.type(inner), ">@", place.text)
                    if each
                    else cat(self.tight_type(inner), "@", place.text)
                )
            case _:
                assert_never(node)

    def tight_type(self, node: t.TypeTree) -> Doc:
        """A type before `*` or `@`."""
        loose = isinstance(node, t.FunctionType | t.PlacedType)
        return cat("(", self.type(node), ")") if loose else self.type(node)

    def type_argument(self, node: t.TypeArgument) -> Doc:
        match node:
            case t.IntegerDim(value, span):
                return span.text or str(value)
            case t.UnknownDim():
                return "?"
            case t.BinaryDim(operator, left, right):
                quotient = operator == "/"
                before = self.dimension(left, sums=not quotient, quotients=True)
                return cat(before, f" {operator} ", self.dimension(right, sums=False, quotients=not quotient))
            case t.CallDim(function, arguments, span):
                return cat(function.text, self.listed("(", arguments, self.type_argument, ")", span))
            case t.Pack(shape):
                return cat("...", shape.text if isinstance(shape, t.Name) else self.type_argument(shape))
            case _:
                return self.type(node)

    def dimension(self, node: t.TypeArgument, *, sums: bool, quotients: bool) -> Doc:
        """An operand of a size; which operations need no parentheses there."""
        loose = isinstance(node, t.BinaryDim) and not (quotients if node.operator == "/" else sums)
        return cat("(", self.type_argument(node), ")") if loose else self.type_argument(node)

    # ---- statements ----

    def block(self, node: t.Block, *, is_test: bool = False) -> Doc:
        return Group(self.braces(node, is_test=is_test))

    def braces(self, node: t.Block, *, is_test: bool = False) -> Doc:
        """On one line if it is one expression that was on one line; lines break with the group around them."""
        empty = is_test and node.value == t.TupleExpression((), node.span)  # spans do not count
        lines: tuple[t.Statement | t.Expression, ...] = node.statements if empty else (*node.statements, node.value)
        if not lines and not self.comments.any_before(node.span.end):
            return "{}"
        start = node.span.start
        broken = bool(node.statements) or not lines or self.newline(start, lines[0].span.start)
        broken = broken or self.comments.any_before(node.span.end)
        body = self.stacked(lines, self.line, node.span.end)
        edge: Doc = HARD if broken else LINE
        return cat("{", Nest(STEP, cat(edge, body)), edge, "}")

    def line(self, node: t.Statement | t.Expression) -> Doc:
        if isinstance(node, t.Effect):
            return cat(node.kind, self.arguments(node.arguments, node.span))
        if not isinstance(node, t.Let):
            return self.expression(node)
        type_: list[Doc] = [": ", self.type(node.type)] if node.type else []
        return cat("let ", self.pattern(node.pattern), *type_, " = ", self.expression(node.value))

    def pattern(self, node: t.Pattern) -> Doc:
        match node:
            case t.NamePattern(name):
                return name.text
            case t.Wildcard():
                return "_"
            case t.TuplePattern(items, span):
                return self.listed("(", items, self.pattern, ")", span)
            case t.RecordPattern(names, span):
                return self.listed("{", names, _name, "}", span)
            case _:
                assert_never(node)

    # ---- expressions ----

    def expression(self, node: t.Expression, least: int = LOWEST) -> Doc:
        """An expression, in parentheses where it binds less than `least`."""
        doc = self.bare(node)
        return cat("(", Align(doc), ")") if level(node) < least else doc

    def bare(self, node: t.Expression) -> Doc:
        match node:
            case t.Variable(name):
                return name.text
            case t.IntegerLiteral(_, text) | t.FloatLiteral(_, text) | t.StringLiteral(_, text):
                return text
            case t.BoolLiteral(value):
                return "true" if value else "false"
            case t.TupleExpression(items, span):
                return self.listed("(", items, self.expression, ")", span)
            case t.ListExpression(items, span):
                return self.listed("[", items, self.expression, "]", span)
            case t.RecordExpression(members, span):
                return self.listed("{", members, self.member, "}", span)
            case t.FieldAccess() | t.Call() | t.Index():
                return self.postfix(node)
            case t.Unary(operator, operand):
                word = "not " if operator == "not" else operator
                return cat(word, self.expression(operand, level(node)))
            case t.Binary():
                return self.binary(node)
            case t.Lambda():
                return self.function(node)
            case t.If():
                return self.conditional(node)
            case t.Loop():
                return self.loop(node)
            case _:
                assert_never(node)

    def member(self, node: t.RecordField | t.Spread) -> Doc:
        if isinstance(node, t.Spread):
            return cat("..", self.expression(node.value))
        return node.name.text if node.pun else cat(node.name.text, ": ", self.expression(node.value))

    def postfix(self, node: t.FieldAccess | t.Call | t.Index) -> Doc:
        """A chain from the inside out, without recursion along it."""
        chain: list[t.FieldAccess | t.Call | t.Index] = []
        target: t.Expression = node
        while isinstance(target, t.FieldAccess | t.Call | t.Index):
            chain.append(target)
            target = target.function if isinstance(target, t.Call) else target.target
        number = isinstance(target, t.IntegerLiteral | t.FloatLiteral) and isinstance(chain[-1], t.FieldAccess)
        parts: list[Doc] = [cat("(", self.bare(target), ")") if number else self.expression(target, POSTFIX)]
        for each in reversed(chain):
            match each:
                case t.FieldAccess(_, name):
                    parts.append(f".{name.text}")
                case t.Call(function, arguments, span):
                    parts.append(self.arguments(arguments, Span(span.source, function.span.end, span.end)))
                case t.Index(inner, items, span):
                    here = Span(span.source, inner.span.end, span.end)
                    parts.append(self.listed("[", items, self.item, "]", here))
                case _:
                    assert_never(each)
        return cat(*parts)

    def arguments(self, nodes: tuple[t.Argument, ...], span: Span) -> Doc:
        return self.listed("(", nodes, self.argument, ")", span)

    def argument(self, node: t.Argument) -> Doc:
        value = self.expression(node.value)
        return cat(node.name.text, " = ", value) if node.name else value

    def item(self, node: t.Expression | t.Slice) -> Doc:
        if not isinstance(node, t.Slice):
            return self.expression(node)
        start = self.expression(node.start) if node.start else ""
        return cat(start, ":", self.expression(node.stop) if node.stop else "")

    def binary(self, node: t.Binary) -> Doc:
        """`a + b + c`: operators of one level that lean left make one line to fill, which breaks after operators."""
        here = level(node)
        chain: list[t.Binary] = []
        left: t.Expression = node
        while isinstance(left, t.Binary) and level(left) == here and (not chain or here != COMPARISON):
            chain.append(left)
            left = left.left
        rest: list[Doc] = []
        first = self.expression(left, here + 1)
        for each in reversed(chain):
            rest += [f" {each.operator}", Soft(self.expression(each.right, here + 1))]
        return cat(first, Nest(STEP, cat(*rest)))

    def function(self, node: t.Lambda) -> Doc:
        end = node.result.span.start if node.result else node.body.span.start
        close = self.text.rfind(")", node.span.start, end) + 1
        head = cat(
            "fn ",
            self.listed("(", node.parameters, self.parameter, ")", Span(node.span.source, node.span.start, close)),
        )
        if node.result:
            head = cat(head, " -> ", self.type(node.result))
        if node.arrow:
            return cat(head, " =>", self.after_arrow(node.body.value))
        return cat(head, " ", self.block(node.body))

    def after_arrow(self, value: t.Expression) -> Doc:
        """On the same line if all of it fits; brackets and blocks begin there anyway."""
        doc = self.expression(value)
        if isinstance(value, t.Binary | t.FieldAccess | t.Unary | t.Variable):
            return Group(Nest(STEP, cat(LINE, doc)))
        return cat(" ", doc)

    def conditional(self, node: t.If) -> Doc:
        """All branches on one line, or each on lines of its own."""
        parts: list[Doc] = []
        while True:
            parts += ["if ", self.expression(node.condition, OPERAND), " ", self.braces(node.then), " else "]
            inner = node.otherwise.value
            if not isinstance(inner, t.If) or node.otherwise.span != inner.span:
                return Group(cat(*parts, self.braces(node.otherwise)))
            node = inner

    def loop(self, node: t.Loop) -> Doc:
        parts: list[Doc] = [node.kind, " "]
        parts += [self.pattern(node.element), " in "] if node.element else []
        parts += [self.expression(node.over, OPERAND), " from ", self.expression(node.start, OPERAND), " as "]
        return cat(*parts, self.pattern(node.state), " ", self.block(node.body))


class _Field(Frozen):
    """One field of a record type."""

    name: t.Name
    type: t.TypeTree

    @property
    def span(self) -> Span:
        return self.name.span.to(self.type.span)


def level(node: t.Expression) -> int:
    """How tightly an expression binds; the table of the grammar."""
    match node:
        case t.Binary(operator):
            return LEVELS.get(operator, COMPARISON)
        case t.Unary(operator):
            return LEVELS["not"] if operator == "not" else PREFIX
        case t.Lambda() | t.If() | t.Loop():
            return LOWEST
        case t.FieldAccess() | t.Call() | t.Index():
            return POSTFIX
        case _:
            return ATOM


def _name(node: t.Name) -> Doc:
    return node.text


def _hugs(node: Spanned) -> bool:
    """Whether a list that ends in this item leaves its lines at the margin of the line it began on."""
    value = node.value if isinstance(node, t.Argument) else None
    return (isinstance(value, t.Lambda) and not value.arrow) or isinstance(value, t.Loop)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
