"""How diagnostics look where one line is not enough, or not made of plain letters."""

from __future__ import annotations

from fedlang.diagnostics import Diagnostic, Label, render
from fedlang.source import Source, Span


def span(source: Source, text: str) -> Span:
    start = source.text.index(text)
    return Span(source, start, start + len(text))


def test_labels_come_in_the_order_of_lines() -> None:
    source = Source("a.fed", "one\ntwo three\nfour\nfive\n")
    labels = (
        Label(span(source, "five"), "wrong"),
        Label(span(source, "three"), "so it is"),
        Label(span(source, "two")),
    )
    assert render(Diagnostic("FED0000", "no", labels, ("by law",), "do it", severity="warning")).splitlines() == [
        "warning[FED0000]: no",
        " --> a.fed:4:1",
        "  |",
        "2 | two three",
        "  | ---",
        "  |     ----- so it is",
        "...",
        "4 | five",
        "  | ^^^^ wrong",
        "  = note: by law",
        "  = help: do it",
    ]


def test_a_span_over_lines_shows_its_first_and_last() -> None:
    source = Source("a.fed", "if a {\n  b\n  c\n}\n")
    lines = render(Diagnostic("FED0000", "no", (Label(Span(source, 3, len(source.text) - 1), "all"),))).splitlines()
    assert lines[3:] == ["1 | if a {", "  |    ^^^ …", "...", "4 | }", "  | ^ all"]


def test_marks_stand_below_wide_combining_and_tabbed_text() -> None:
    source = Source("a.fed", "\t日本e\u0301\x1b x\r\n")
    lines = render(Diagnostic("FED0000", "no", (Label(span(source, "x")),))).splitlines()
    assert lines[3:] == ["1 |     日本e\u0301\N{REPLACEMENT CHARACTER} x", "  |            ^"]


def test_two_files_and_no_file() -> None:
    first, second = Source("a.fed", "one"), Source("b.fed", "two")
    labels = (Label(span(first, "one"), "here"), Label(span(second, "two"), "and there"))
    text = render(Diagnostic("FED0000", "no", labels))
    assert text.index("a.fed:1:1") < text.index("here") < text.index("b.fed:1:1") < text.index("and there")
    assert render(Diagnostic("FED0000", "no")) == "error[FED0000]: no"


def test_a_long_line_is_cut() -> None:
    source = Source("a.fed", "x" * 100_000 + "y" + "x" * 100_000)
    assert (
        max(len(line) for line in render(Diagnostic("FED0000", "no", (Label(span(source, "y")),))).splitlines()) < 130
    )
