"""What a name means: one's own, then what is imported, then a module, then the prelude."""

from __future__ import annotations

from fedlang.names.world import ModuleName, Symbol, World
from fedlang.source import Source

LIBRARY = {
    "prelude": "fn sin(x: float32) -> float32 { x }\nfn cos(x: float32) -> float32 { x }\ntype Shared = float32\n",
    "tools": "fn cos(x: float32) -> float32 { x }\nfn scale(x: float32) -> float32 { x }\ntype Scale = float32\n",
    "tools.more": "fn (broken\nfn fine(x: float32) -> float32 { x }\n",
}


def world(text: str) -> World:
    def find(module: str) -> tuple[Source, ...]:
        return (Source(f"{module}.fed", LIBRARY[module]),) if module in LIBRARY else ()

    made = World(find, lambda: LIBRARY)
    made.load_root(Source("root.fed", text))
    return made


def test_the_nearest_declaration_wins() -> None:
    made = world("import tools (cos, Scale)\nimport tools.more\nfn sin(x: float32) -> float32 { x }\n")
    assert made.lookup("", "sin", "value") == Symbol("", "sin")
    assert made.lookup("", "cos", "value") == Symbol("tools", "cos")
    assert made.lookup("", "Scale", "type") == Symbol("tools", "Scale", "type")
    assert made.lookup("", "Shared", "type") == Symbol("prelude", "Shared", "type")
    assert made.lookup("", "more", "value") == ModuleName("tools.more")
    assert made.lookup("", "scale", "value") is None
    assert made.lookup("", "Scale", "value") is None
    assert made.lookup("tools", "sin", "value") == Symbol("prelude", "sin")
    assert not made.diagnostics


def test_members_of_modules() -> None:
    made = world("import tools\n")
    assert made.member("tools", "scale") == Symbol("tools", "scale")
    assert made.member("tools", "sin") is None
    assert made.member("nowhere", "sin") is None


def test_a_library_is_parsed_when_it_is_asked_for() -> None:
    made = world("import tools.more (fine)\n")
    assert not made.diagnostics
    assert made.declaration(Symbol("tools.more", "fine")) is not None


def test_what_cannot_be_read_silences_its_name() -> None:
    made = world("fn f(x: float32 { x }\nimport tols (a)\nimport tools (scal)\n")
    assert [each.code for each in made.diagnostics[-2:]] == ["FED0205", "FED0206"]
    assert all(made.is_broken("", name) for name in ("f", "a", "scal"))
    assert "did you mean `tools`?" in made.diagnostics[-2].hint


def test_names_offers_all_in_scope() -> None:
    made = world("import tools (scale)\nimport random\nfn mine(x: float32) -> float32 { x }\n")
    assert {"mine", "scale", "sin", "cos"} <= set(made.names("", "value"))
    assert made.names("", "type") == ["Shared"]
