"""Laws of the printer over trees drawn from the language's grammar: printing parses back, and is stable."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedlang.source import Source, Span
from fedlang.syntax.parser import parse
from fedlang.syntax.printer import print_module

NAMES = st.sampled_from(["a", "b", "weights", "_x", "federated_mean", "a_name_that_is_rather_long_for_a_name", "n"])
# A line never begins with an item: `fn` at column 0 would begin a declaration.
BLANKS = st.sampled_from(["", " ", " ", "  ", "\n  ", "\n\n  ", " # why\n  ", "\n    # a comment of its own\n  "])
OPERATORS = st.sampled_from("or and == != < >= + - * / // % @".split())  # noqa: SIM905
LITERALS = st.sampled_from(["0", "60_000", "0xFF", "1.5", "1e-7", "true", '"text"', "()", "[]", "{}"])


def glued(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts one after another."""
    return st.tuples(*(st.just(each) if isinstance(each, str) else each for each in parts)).map("".join)


def listed(opening: str, items: st.SearchStrategy[str], closing: str, least: int = 0) -> st.SearchStrategy[str]:
    """Items between brackets, with blanks and comments among them, and at times a comma at the end."""
    item = glued(BLANKS, items, BLANKS)
    inside = st.lists(item, min_size=least, max_size=4).map(",".join)
    comma = glued(st.lists(item, min_size=max(1, least), max_size=3).map(",".join), ",", BLANKS)
    return glued(opening, st.one_of(inside, comma), closing)


def types(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    size = st.sampled_from(["?", "28", "n - 1", "(n + 1) / 2", "product(n, 2)", "...s", "...drop(s, 0)"])
    return st.one_of(
        glued(NAMES, listed("[", st.one_of(inner, size), "]", 1)),
        glued("(", inner, ")*"),
        glued("(", inner, ")@SERVER"),
        glued("<", inner, ">@CLIENTS"),
        listed("{", glued(NAMES, ":", inner), "}"),
        listed("(", inner, ")", 2),
        glued(listed("(", inner, ")"), "->", inner),
    )


TYPES = st.recursive(st.one_of(NAMES, st.just("_")), types, max_leaves=5)
PARAMETERS = listed("(", st.one_of(NAMES, st.just("_"), glued(NAMES, ": ", TYPES), glued(NAMES, " = 1")), ")")
PATTERNS = st.sampled_from(["a", "_", "(a, (b, _))", "{a,\n b}"])


def blocks(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    let = glued("let ", PATTERNS, st.one_of(st.just(""), glued(": ", TYPES)), " = ", value, "\n")
    effect = glued(st.sampled_from(["print", "expect", "probe"]), listed("(", value, ")"), BLANKS, "\n")
    statements = st.lists(st.one_of(let, effect), max_size=2).map("".join)
    return glued("{", BLANKS, statements, "(", value, ")", BLANKS, "}")


def expressions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    block = blocks(inner)
    argument = st.one_of(inner, glued(NAMES, " = ", inner))
    member = st.one_of(NAMES, glued(NAMES, ": ", inner), glued("..", inner))
    index = st.one_of(inner, st.sampled_from([":", "1:", ":n", "0:n"]))
    return st.one_of(
        glued("(", inner, ") ", OPERATORS, " (", inner, ")"),
        glued("a ", st.sampled_from(["+", "-", "*"]), " b ", st.sampled_from(["+", "-", "*"]), " (", inner, ")"),
        glued(st.sampled_from(["-", "not "]), "(", inner, ")"),
        glued("(", inner, ").", NAMES),
        glued("(", inner, ")", listed("(", argument, ")")),
        glued(NAMES, listed("[", index, "]", 1)),
        listed("[", inner, "]"),
        listed("(", inner, ")", 2),
        listed("{", member, "}"),
        glued("fn ", PARAMETERS, " => ", inner),
        glued("fn ", PARAMETERS, block),
        glued("if (", inner, ") ", block, " else ", block),
        glued("if a ", block, " else if b ", block, " else ", block),
        glued("fold ", PATTERNS, " in (", inner, ") from a as now ", block),
        glued("repeat 3 from (", inner, ") as ", PATTERNS, block),
    )


EXPRESSIONS = st.recursive(st.one_of(NAMES, LITERALS), expressions, max_leaves=8)
GENERICS = st.sampled_from(["", "[T]", "[n, T: Float,\n ...s]"])
METHOD = glued(st.sampled_from(["", "## Words.\n", "# no words\n"]), NAMES, PARAMETERS, blocks(EXPRESSIONS), BLANKS)
DECLARATIONS = st.one_of(
    st.sampled_from(["import a.b (c, d,)", "import random", "allow collect", "extern fn f(x: T) -> T"]),
    glued("type T", GENERICS, " = ", TYPES),
    glued("fn f", GENERICS, PARAMETERS, st.one_of(st.just(""), glued("->", TYPES)), blocks(EXPRESSIONS)),
    glued("prim elementwise f", PARAMETERS, "->", TYPES, "\n  derivative (dy) => ", EXPRESSIONS),
    glued("process p", GENERICS, "{", st.lists(METHOD, max_size=2).map("\n".join), "}"),
    glued("process p", GENERICS, PARAMETERS, " = ", EXPRESSIONS),
    glued('test "it works" ', blocks(EXPRESSIONS)),
)
MODULES = st.lists(
    glued(st.sampled_from(["", "## Documentation.\n", "# comment\n", "\n"]), DECLARATIONS, "\n"), max_size=3
).map("".join)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(MODULES)
def test_printing_parses_back_and_is_stable(text: str) -> None:
    parsed = parse(Source("test.fed", text))
    assert [each.title for each in parsed.diagnostics if each.severity == "error"] == []
    printed = print_module(parsed)
    again = parse(Source("test.fed", printed))
    assert again.module == parsed.module
    assert words_of(again.comments) == words_of(parsed.comments)
    assert print_module(again) == printed


def words_of(comments: tuple[Span, ...]) -> list[str]:
    """What the comments say: one that moves to a line of its own is no documentation there, and loses a `#`."""
    return sorted(each.text.strip().lstrip("#") for each in comments)
