"""What the parser promises beyond single programs: limits, single declarations, and never raising."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from fedlang.diagnostics import DiagnosticError, render
from fedlang.source import Source, Span
from fedlang.syntax import tree as t
from fedlang.syntax.limits import LONGEST_FILE
from fedlang.syntax.parser import parse, parse_expression, parse_piece, parse_type
from fedlang.syntax.pieces import cut, index
from fedlang.syntax.printer import print_expression, print_module, print_type
from fedlang.syntax.read import read_source

PROGRAMS = [path.read_bytes().decode() for path in sorted(Path(__file__).parent.glob("*.fed"))]


def codes(text: str) -> list[str]:
    parsed = parse(Source("test.fed", text))
    assert all(render(each) for each in parsed.diagnostics)
    return [each.code for each in parsed.diagnostics]


@pytest.mark.parametrize("bracket", ["(", "[", "{", "f(", "{a: ", "fn (x) { ", "if a { "])
def test_nesting_too_deep_is_one_mistake(bracket: str) -> None:
    assert codes("fn f() { " + bracket * 100_000) == ["FED0112"]


@pytest.mark.parametrize(
    ("chain", "last"), [("-", "a"), ("not ", "a"), ("if a { b } else ", "{ a }"), ("fn () => ", "a")]
)
def test_long_chains_to_the_right(chain: str, last: str) -> None:
    assert codes("fn f() { " + chain * 500 + last + " }") == []
    assert codes("fn f() { " + chain * 5_000 + last + " }") == ["FED0112"]


def test_a_thousand_terms_are_no_mistake() -> None:
    text = "fn f() {\n  " + " + ".join(["1"] * 1_000) + "\n}\n"
    parsed = parse(Source("test.fed", text))
    assert not parsed.diagnostics
    printed = print_module(parsed)
    assert print_module(parse(Source("test.fed", printed))) == printed


def test_three_thousand_terms_are_too_many() -> None:
    assert codes("fn f() { " + "+".join(["1"] * 3_000) + " }") == ["FED0112"]


def test_two_hundred_brackets_are_no_mistake() -> None:
    assert codes("fn f() { " + "(" * 190 + "a" + ")" * 190 + " }") == []
    assert codes("fn f() { " + "{a: " * 190 + "a" + "}" * 190 + " }") == []


def test_files_too_long_or_binary() -> None:
    assert codes("#" * (LONGEST_FILE + 1)) == ["FED0113"]
    assert codes("fn f() { 1 }\0") == ["FED0110"]


def test_one_broken_declaration_hides_no_other() -> None:
    parsed = parse(Source("test.fed", "fn a() { ( }\nfn b() { 1 }\nimport c (d, e\nimport g.h x\nfn i() { 1. }\n"))
    assert [each.code for each in parsed.diagnostics] == ["FED0104", "FED0102", "FED0101", "FED0106"]
    assert [each.name.text for each in parsed.module.declarations if isinstance(each, t.FunctionDeclaration)] == ["b"]
    assert [each.text for each in parsed.broken_names] == ["a", "d", "e", "h", "i"]


def test_spans_point_into_the_file() -> None:
    source = Source("test.fed", "fn a() { 1 }\n\n## About b.\nfn b(x) { (x + 1) * 2 }\n")
    function = parse(source).module.declarations[1]
    assert isinstance(function, t.FunctionDeclaration)
    assert function.span.text == "fn b(x) { (x + 1) * 2 }"
    assert function.documentation == "About b."
    product = function.body.value
    assert isinstance(product, t.Binary)
    assert product.span.text == "(x + 1) * 2"
    assert product.operator_span.text == "*"


@pytest.mark.parametrize(
    ("text", "documentation"),
    [
        ("## M\nimport a\n", "M"),
        ("## M\n##\n## N\n\nfn f() { 1 }\n", "M\n\nN"),
        ("## F\nfn f() { 1 }\n", ""),
        ("\n## M\n\n", "M"),
        ("# no words\n\nfn f() { 1 }\n", ""),
    ],
)
def test_module_documentation(text: str, documentation: str) -> None:
    assert parse(Source("test.fed", text)).module.documentation == documentation


def test_pieces_are_parsed_alone() -> None:
    source = Source(
        "test.fed", 'import a\ntype b = int32\n## A.\nfn b() { 1 }\nprim elementwise c(x: T) -> T\ntest "d" {}\n'
    )
    assert [(each.kind, each.name) for each in cut(source)][1:] == [
        ("type", "b"),
        ("fn", "b"),
        ("prim", "c"),
        ("test", "d"),
    ]
    pieces = index(source)
    assert set(pieces) == {"b", "c"}
    declaration, problems = parse_piece(pieces["b"][1])
    assert isinstance(declaration, t.FunctionDeclaration)
    assert declaration.documentation == "A."
    assert problems == ()


EXPRESSIONS = [
    "random.at(k, 0)",
    "zeros[float32[n, 3]]()",
    "x[:, 0:h]",
    "{..a, b: 1, c}",
    "fn (x: T, _) -> T { x }",
    "(fn (x) => x)(1)",
    "-(a + b) * c",
    "a - (b - c)",
    "(a < b) == c",
    "not (a and b) or c",
    "(if a { 1 } else { 2 }) + 1",
    "()",
    "(1).x",
    '"a\\n"',
    "0x1F",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_print_as_written(text: str) -> None:
    assert print_expression(parse_expression(text)) == text


TYPES = [
    "float32[n, ?][m]",
    "<string*>@CLIENTS",
    "(A*, ()) -> {x: B}@SERVER",
    "((A) -> B)*",
    "D[...s, ...drop(s, 0), n - (m - 1), (n + 1) / 2, ceil(n / 2), product(2, n)]",
    "Model[_, W*]@SERVER",
    "(A, B)",
]


@pytest.mark.parametrize("text", TYPES)
def test_types_print_as_written(text: str) -> None:
    assert print_type(parse_type(text)) == text


@pytest.mark.parametrize("text", ["", "1 +", "f(", "1 2", "\0", "x;"])
def test_a_broken_expression_raises(text: str) -> None:
    with pytest.raises(DiagnosticError):
        parse_expression(text)


@pytest.mark.parametrize("text", ["", "float32[", "{T}@CLIENTS", "1"])
def test_a_broken_type_raises(text: str) -> None:
    with pytest.raises(DiagnosticError):
        parse_type(text)


def test_values_of_literals() -> None:
    items = parse_expression(r'(0xFF, 60_000, 1e-7, "a\t\"\\n", true)')
    assert isinstance(items, t.TupleExpression)
    values = [getattr(each, "value") for each in items.items]  # noqa: B009
    assert values == [255, 60_000, 1e-7, 'a\t"\\n', True]


def test_reading_files(tmp_path: Path) -> None:
    (tmp_path / "good.fed").write_bytes(b"\xef\xbb\xbffn f() { 1 }\r\n")
    assert read_source(tmp_path / "good.fed").text == "fn f() { 1 }\r\n"
    (tmp_path / "bad.fed").write_bytes(b"ab\xff")
    for name, code in [("bad.fed", "FED0109"), ("none.fed", "FED0121"), ("", "FED0121"), ("a\0b", "FED0121")]:
        with pytest.raises(DiagnosticError) as caught:
            read_source(str(tmp_path / name))
        assert [each.code for each in caught.value.diagnostics] == [code]


def test_changed_programs_never_raise() -> None:
    chance = random.Random(1)
    signs = [*"()[]{}<>\"#\n ,:=.@*?-_\\\0'é;|1e", "fn ", "let ", "=> ", "..", "else", "\r\n", "\t", "# c\n", "\n\n"]
    for _ in range(1_500):
        words = re.findall(r"\w+|\s+|[^\w\s]", chance.choice(PROGRAMS))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(words))
            words[place] = chance.choice([*signs, "", words[chance.randrange(len(words))], words[place] + "\n"])
        check_any("".join(words))


def test_random_bytes_never_raise() -> None:
    chance = random.Random(2)
    for _ in range(300):
        check_any(chance.randbytes(chance.randrange(200)).decode("latin-1"))
        check_any("fn f() { " + "".join(chance.choices('abc123()[]{}<>.,:=+-*/@ \n"#', k=40)))


def check_any(text: str) -> None:
    """Parsing never raises; what is right prints to an equal tree, and printing again changes nothing."""
    parsed = parse(Source("test.fed", text))
    for each in parsed.diagnostics:
        assert render(each)
    if any(each.severity == "error" for each in parsed.diagnostics):
        return
    printed = print_module(parsed)
    again = parse(Source("test.fed", printed))
    assert again.module == parsed.module
    assert words_of(again.comments) == words_of(parsed.comments)
    assert print_module(again) == printed


def words_of(comments: tuple[Span, ...]) -> list[str]:
    """What the comments say: one that moves to a line of its own is no documentation there, and loses a `#`."""
    return sorted(each.text.strip().lstrip("#") for each in comments)
