"""Imports point down one list of layers, and what `fed check` needs is light.

A cycle or an import that points up means that something lies in the wrong place: move it. Rows of `LAYERS` come from
the bottom up; the longest name that fits a module is its place.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("fedlang.frozen", "fedlang.source", "fedlang.diagnostics", "fedlang.names.nearest"),
    ("fedlang.syntax",),
    ("fedlang.types",),
    ("fedlang.modules",),
    ("fedlang.names",),
    ("fedlang.check",),
    ("fedlang.checking",),
    ("fedlang.ir",),
    ("fedlang.lower",),
    ("fedlang.passes",),
    ("fedlang.pipeline",),
    ("fedlang.run",),
    ("fedlang.executors",),
    ("fedlang.data",),
    ("fedlang.embed", "fedlang.learning", "fedlang.utils", "fedlang.framework", "fedlang.simulation"),
    ("fedlang.testing",),
    ("fedlang", "fedlang.cli"),
)
FRONT_END = ("fedlang.syntax", "fedlang.types", "fedlang.names", "fedlang.check")
HEAVY = ("numpy", "networkx", "tensorflow", "matplotlib")
FOUND_BY_NAME = "fedlang.executors"
"""The registry loads executors by name, so that none costs anything until it is asked for."""

EXEMPT = "fedlang.__init__"
"""The public face may take from every layer."""


def modules() -> dict[str, Path]:
    """Every module of the package by its installed name, `__init__` files as such."""
    found = {}
    for folder in ("fedlang", "executors"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[f"fedlang.{name}" if folder == "executors" else name] = path
    return found


MODULES = modules()


def layer_of(module: str) -> int | None:
    """The place of a module in the list, None for one that has none."""
    rows = {name: row for row, names in enumerate(LAYERS) for name in names}
    plain = module.removesuffix(".__init__")
    fits = [name for name in rows if plain == name or (plain.startswith(f"{name}.") and name != "fedlang")]
    return rows[max(fits, key=len)] if fits else None


def imports(module: str, text: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each import, wherever it stands; `import fedlang` alone, for its path, is none."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name != "fedlang")
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            parts = [f"{origin}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, part if is_module(part) else origin) for part in parts)


def is_module(name: str) -> bool:
    return name in MODULES or f"{name}.__init__" in MODULES


def problems(module: str, text: str) -> list[str]:
    """What is wrong with a module's imports."""
    own = layer_of(module)
    found = []
    for line, name in imports(module, text):
        front_end = any(module.startswith(f"{part}.") for part in FRONT_END)
        if front_end and name.split(".")[0] in HEAVY:
            found.append(f"{module}:{line} imports {name}: `fed check` must start fast")
        if name.split(".")[0] == "executors":
            found.append(f"{module}:{line} imports {name}: its name is fedlang.executors")
        if name.split(".")[0] != "fedlang":
            continue
        other = layer_of(name)
        if own is None or other is None:
            found.append(f"{module}:{line} imports {name}: one of them has no layer")
        elif other > own:
            found.append(f"{module}:{line} imports {name}, which lies above it")
        elif name.startswith(FOUND_BY_NAME) and not module.startswith(FOUND_BY_NAME):
            found.append(f"{module}:{line} imports {name}: executors are found by name")
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if name != EXEMPT])
def test_imports_point_down(module: str) -> None:
    assert layer_of(module) is not None, f"give {module} a place in LAYERS"
    assert problems(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("fedlang.syntax.tree", "from fedlang.types import dims", "lies above"),
        ("fedlang.syntax.tree", "from ..types.dims import Size", "lies above"),
        ("fedlang.types.dims", "def f():\n    import numpy.linalg", "must start fast"),
        ("fedlang.ir.graph", "import fedlang.run.values", "lies above"),
        ("fedlang.data.clients", "import fedlang.executors.reference", "found by name"),
        ("fedlang.cli.run", "import executors.reference", "its name is fedlang.executors"),
        ("fedlang.run.values", "from fedlang import federated_computation", "lies above"),
        ("fedlang.syntax.grammar", "import fedlang", None),
        ("fedlang.run.values", "from fedlang import diagnostics", None),
        ("fedlang.executors.reference.work", "from . import kernel\nfrom fedlang.run.values import as_array", None),
        ("fedlang.ir.graph", "import numpy, networkx", None),
    ],
)
def test_the_rules_are_held(module: str, text: str, expected: str | None) -> None:
    found = problems(module, text)
    assert (found == []) if expected is None else (expected in found[0])


def light_modules() -> list[str]:
    """What `fed check` needs, as far as it is there."""
    parts = ("fedlang", "fedlang.cli", "fedlang.data", "fedlang.simulation")
    inside = [name for name in MODULES if any(name.startswith(f"{part}.") for part in FRONT_END)]
    return [name.removesuffix(".__init__") for name in inside] + [part for part in parts if is_module(part)]


def test_what_fed_check_needs_is_light() -> None:
    names = light_modules()
    assert len(names) > 20
    code = f"import sys, importlib\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert sorted(set(done.stdout.split()) & set(HEAVY)) == []
