"""The mistakes of binding names. Codes FED02xx."""

from __future__ import annotations

from fedlang.diagnostics import Diagnostic, Edit, Label
from fedlang.source import Span
from fedlang.syntax.tree import Name


def _offer(word: str | None) -> str:
    return f"did you mean `{word}`?" if word else ""


def unknown_name(span: Span, name: str, near: str | None) -> Diagnostic:
    """A value that nothing declares."""
    edit = Edit(span, near) if near else None
    return Diagnostic(
        "FED0201",
        f"unknown name `{name}`",
        (Label(span, "nothing of this name is in scope"),),
        (),
        _offer(near),
        edit=edit,
    )


def unknown_type(span: Span, name: str, near: str | None) -> Diagnostic:
    """A type that nothing declares."""
    edit = Edit(span, near) if near else None
    return Diagnostic(
        "FED0202",
        f"unknown type `{name}`",
        (Label(span, "no type of this name is in scope"),),
        (),
        _offer(near),
        edit=edit,
    )


def declared_twice(name: Name, first: Span | None) -> Diagnostic:
    """Two declarations of one name."""
    labels = (Label(name.span, "declared again here"), *((Label(first, "first declared here"),) if first else ()))
    return Diagnostic("FED0203", f"`{name.text}` is declared twice", labels, (), "rename or remove one of them")


def reserved(name: Name) -> Diagnostic:
    """A name the language keeps."""
    hint = "names of built-in types and names that start with `federated_` cannot be declared"
    return Diagnostic("FED0204", f"`{name.text}` is a name of the language", (Label(name.span),), (), hint)


def unknown_module(span: Span, module: str, near: str | None) -> Diagnostic:
    """An import of a module that cannot be found."""
    hint = _offer(near) or "modules are looked for beside the file, in the library and in installed packages"
    return Diagnostic("FED0205", f"there is no module `{module}`", (Label(span),), (), hint)


def not_in_module(name: Name, module: str, near: str | None) -> Diagnostic:
    """An import of a name that its module does not declare."""
    return Diagnostic(
        "FED0206", f"module `{module}` does not declare `{name.text}`", (Label(name.span),), (), _offer(near)
    )


def name_twice(name: Name, what: str) -> Diagnostic:
    """The same name twice in one list."""
    return Diagnostic(
        "FED0207",
        f"{what} `{name.text}` appears twice",
        (Label(name.span, "here again"),),
        (),
        "give each its own name",
    )


def type_as_value(span: Span, name: str) -> Diagnostic:
    """A type where a value is wanted."""
    hint = f"a type argument stands in brackets: `zeros[{name}]()`, `cast[{name}](…)`"
    return Diagnostic("FED0209", f"`{name}` is a type, not a value", (Label(span),), (), hint)


def unknown_size(span: Span, name: str, near: str | None) -> Diagnostic:
    """A size in brackets that nothing declares."""
    hint = _offer(near) or (
        f"declare it, as in `fn f[{name}](…)`" if name[0].islower() else "sizes are named in lower case"
    )
    edit = Edit(span, near) if near else None
    return Diagnostic(
        "FED0210", f"unknown size `{name}`", (Label(span, "no size of this name is in scope"),), (), hint, edit=edit
    )


def module_as_value(span: Span, name: str) -> Diagnostic:
    """A module where a value is wanted."""
    return Diagnostic(
        "FED0208", f"`{name}` is a module, not a value", (Label(span),), (), f"write `{name}.` and a name it declares"
    )
