"""Opens a file to check or test it; the files of the prelude, which every program has in scope already, as well."""

from __future__ import annotations

import os

from fedlang.checking import Unit, open_module, open_source
from fedlang.cli.paths import STDIN, folder_of, read_path
from fedlang.modules import Modules, prelude_files
from fedlang.names.world import Symbol
from fedlang.source import Source
from fedlang.syntax.parser import parse
from fedlang.syntax.tree import Allow, Import, Module, TestDeclaration, TypeDeclaration


def open_path(path: str) -> Unit:
    """The file, checked; its mistakes are in the unit's `diagnostics`."""
    source = read_path(path)
    if path != STDIN and os.path.realpath(path) in map(os.path.realpath, prelude_files()):
        return _open_prelude(source)
    return open_source(source, Modules(folder_of(path)))


def _open_prelude(source: Source) -> Unit:
    """A file of the prelude, its declarations checked where they are; to declare them anew would be a mistake."""
    parsed = parse(source)
    tests = tuple(each for each in parsed.module.declarations if isinstance(each, TestDeclaration))
    unit = open_module(Module(source, tests, parsed.module.documentation), Modules())
    unit.world.diagnostics += parsed.diagnostics
    for declaration in parsed.module.declarations:
        if isinstance(declaration, TypeDeclaration):
            unit.checker.alias(Symbol("prelude", declaration.name.text, "type"))
        elif not isinstance(declaration, Allow | Import | TestDeclaration):
            unit.checker.checked(Symbol("prelude", declaration.name.text))
    return unit
