"""Every name bound: which declaration a name means in a file.

A `World` holds the root file and the library modules it reaches. A module's declarations are parsed when they are
first asked for, so a program pays only for what it uses. Types and values are separate namespaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedlang.diagnostics import Diagnostic
from fedlang.frozen import Frozen
from fedlang.names import errors
from fedlang.names.nearest import nearest
from fedlang.source import Source, Span
from fedlang.syntax.parser import parse, parse_piece
from fedlang.syntax.pieces import cut
from fedlang.syntax.tree import (
    Allow,
    Declaration,
    ExternDeclaration,
    FunctionDeclaration,
    Import,
    Module,
    Name,
    PrimitiveDeclaration,
    ProcessDeclaration,
    TestDeclaration,
    TypeDeclaration,
)
from fedlang.types.dtypes import DTYPES

FORMS = ("value_and_grad", "grad", "federated_map", "federated_zip")
NamedDeclaration = TypeDeclaration | FunctionDeclaration | ExternDeclaration | PrimitiveDeclaration | ProcessDeclaration


def is_reserved(name: str) -> bool:
    """Whether no program may give this name to something of its own."""
    return name in DTYPES or name.startswith("federated_")


class Symbol(Frozen):
    """A top-level declaration, told by its module and name. `space` is "type" or "value"."""

    module: str
    name: str
    space: str = "value"

    def __str__(self) -> str:
        return self.name if self.module in ("", "prelude") else f"{self.module}.{self.name}"


class ModuleName(Frozen):
    """A name that an `import` bound to a whole module."""

    module: str


Meaning = Symbol | ModuleName


class Scope:
    """The top level of one module: its own declarations, and what it imports."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.own: dict[tuple[str, str], Callable[[], Declaration | None]] = {}
        self.spans: dict[tuple[str, str], Span] = {}
        self.imported: dict[tuple[str, str], Symbol] = {}
        self.import_spans: dict[tuple[str, str], Span] = {}
        self.modules: dict[str, str] = {}
        self.broken: set[str] = set()
        self.allowed: set[str] = set()


def space_of(declaration: Declaration) -> str:
    """The namespace a declaration's name lives in."""
    return "type" if isinstance(declaration, TypeDeclaration) else "value"


class World:
    """The root file and every module it can reach. `find` gives a module's sources; "prelude" has several."""

    def __init__(self, find: Callable[[str], tuple[Source, ...]], module_names: Callable[[], Iterable[str]]) -> None:
        self._find = find
        self._module_names = module_names
        self._scopes: dict[str, Scope] = {}
        self._declarations: dict[Symbol, NamedDeclaration | None] = {}
        self.diagnostics: list[Diagnostic] = []
        self.root = Module(Source("", ""), (), "")

    def load_root(self, source: Source) -> None:
        """Parses and binds the root file; its mistakes go to `diagnostics`."""
        parsed = parse(source)
        self.diagnostics += parsed.diagnostics
        self.bind_root(parsed.module, {name.text for name in parsed.broken_names})

    def bind_root(self, module: Module, broken: set[str]) -> None:
        """Binds a root module that is parsed already, or made without text."""
        self.root = module
        scope = self._scopes[""] = Scope("")
        scope.broken = broken
        for declaration in module.declarations:
            self._declare(scope, declaration)
        for declaration in module.declarations:
            if isinstance(declaration, Import):
                self._import(scope, declaration)

    def _declare(self, scope: Scope, declaration: Declaration) -> None:
        if isinstance(declaration, Allow):
            scope.allowed.add(declaration.name.text)
        if isinstance(declaration, Import | Allow | TestDeclaration):
            return
        key = (space_of(declaration), declaration.name.text)
        name = declaration.name
        if is_reserved(name.text) or name.text in FORMS:
            self.diagnostics.append(errors.reserved(name))
        if key in scope.spans:
            self.diagnostics.append(errors.declared_twice(name, scope.spans[key]))
        else:
            scope.own[key] = lambda: declaration
            scope.spans[key] = name.span

    def scope(self, module: str) -> Scope | None:
        """The scope of a module, loaded on first use; None where there is no such module."""
        if module not in self._scopes:
            sources = self._find(module)
            if not sources:
                return None
            scope = self._scopes[module] = Scope(module)
            for source in sources:
                self._index(scope, source)
        return self._scopes[module]

    def _index(self, scope: Scope, source: Source) -> None:
        for piece in cut(source):
            if piece.kind == "import":
                declaration, _ = parse_piece(piece)
                if isinstance(declaration, Import):
                    self._import(scope, declaration)
            elif piece.name and piece.kind not in ("allow", "test"):
                key = ("type" if piece.kind == "type" else "value", piece.name)
                scope.own[key] = lambda piece=piece: self._parse(piece)  # type: ignore[misc]
                scope.spans[key] = piece.span

    def _parse(self, piece: object) -> Declaration | None:
        declaration, diagnostics = parse_piece(piece)  # type: ignore[arg-type]
        self.diagnostics += diagnostics
        return declaration

    def _import(self, scope: Scope, declaration: Import) -> None:
        module = ".".join(name.text for name in declaration.module)
        target = self.scope(module) if module != scope.module else None
        if target is None:
            span = declaration.module[0].span.to(declaration.module[-1].span)
            self.diagnostics.append(errors.unknown_module(span, module, nearest(module, self._module_names())))
            scope.broken |= {name.text for name in declaration.names} or {declaration.module[-1].text}
            return
        if not declaration.names:
            scope.modules[declaration.module[-1].text] = module
        for name in declaration.names:
            self._import_name(scope, target, name)

    def _import_name(self, scope: Scope, target: Scope, name: Name) -> None:
        found = [space for space in ("type", "value") if (space, name.text) in target.own]
        if not found and name.text not in target.broken:
            known = [key for _, key in target.own]
            self.diagnostics.append(errors.not_in_module(name, target.module, nearest(name.text, known)))
            scope.broken.add(name.text)
        for space in found:
            first = scope.spans.get((space, name.text)) or scope.import_spans.get((space, name.text))
            if first is not None:
                earlier, later = sorted((first, name.span), key=lambda span: span.start)
                self.diagnostics.append(errors.declared_twice(Name(name.text, later), earlier))
            scope.import_spans[space, name.text] = name.span
            scope.imported[space, name.text] = Symbol(target.module, name.text, space)

    def lookup(self, module: str, name: str, space: str) -> Meaning | None:
        """What a name means at the top level of a module: its own, imported, a module, or the prelude's."""
        scope = self.scope(module)
        assert scope is not None, f"module {module} is loaded"
        if (space, name) in scope.own:
            return Symbol(module, name, space)
        if (space, name) in scope.imported:
            return scope.imported[space, name]
        if space == "value" and name in scope.modules:
            return ModuleName(scope.modules[name])
        prelude = self.scope("prelude")
        if prelude is not None and (space, name) in prelude.own:
            return Symbol("prelude", name, space)
        return None

    def member(self, module: str, name: str) -> Symbol | None:
        """A value of another module, as in `random.at`."""
        scope = self.scope(module)
        return Symbol(module, name) if scope is not None and ("value", name) in scope.own else None

    def is_broken(self, module: str, name: str) -> bool:
        """Whether the name was declared in text that could not be read: using it is no further mistake."""
        scope = self.scope(module)
        return scope is not None and name in scope.broken

    def names(self, module: str, space: str) -> list[str]:
        """Every name in scope at a module's top level, for suggestions."""
        scope, prelude = self.scope(module), self.scope("prelude")
        keys = [*(scope.own if scope else ()), *(scope.imported if scope else ()), *(prelude.own if prelude else ())]
        modules = list(scope.modules) if scope and space == "value" else []
        return [name for kind, name in keys if kind == space] + modules

    def declaration(self, symbol: Symbol) -> NamedDeclaration | None:
        """The tree of a declaration; None where it could not be read."""
        if symbol not in self._declarations:
            scope = self.scope(symbol.module)
            assert scope is not None, f"module {symbol.module} is loaded"
            found = scope.own[symbol.space, symbol.name]()
            assert not isinstance(found, Import | Allow | TestDeclaration), "only named declarations are indexed"
            self._declarations[symbol] = found
        return self._declarations[symbol]
