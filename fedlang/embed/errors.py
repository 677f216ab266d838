"""The mistakes of handing values to a program. Codes FED08xx."""

from __future__ import annotations

from fedlang.diagnostics import Diagnostic, DiagnosticError, Label
from fedlang.source import Span


def _error(code: str, title: str, note: str = "", hint: str = "", span: Span | None = None) -> DiagnosticError:
    labels = () if span is None else (Label(span),)
    return DiagnosticError(Diagnostic(code, title, labels, (note,) if note else (), hint))


def wrong_value(path: str, found: str, wanted: str, hint: str = "") -> DiagnosticError:
    """A Python value that is no value of the type."""
    return _error("FED0801", f"`{path}` does not fit its type", f"it is {found}, not {wanted}", hint)


def wrong_fields(path: str, missing: list[str], extra: list[str]) -> DiagnosticError:
    """A mapping whose names are not those of the record."""
    parts = ([f"missing: {', '.join(missing)}"] if missing else []) + (
        [f"unknown: {', '.join(extra)}"] if extra else []
    )
    return _error(
        "FED0802",
        f"the fields of `{path}` are not those of its type",
        "; ".join(parts),
        "names decide, never positions",
    )


def lossy(path: str, value: object, dtype: str) -> DiagnosticError:
    """A number that its dtype cannot hold."""
    return _error(
        "FED0803",
        f"`{path}` cannot be given exactly as {dtype}",
        f"the value is {value}",
        "convert it first, if the loss is meant",
    )


def wrong_call(name: str, note: str, span: Span | None = None, hint: str = "") -> DiagnosticError:
    """Arguments that do not fit the parameters. `span` is the line of a traced program."""
    return _error("FED0804", f"`{name}` cannot be called so", note, hint, span)


def missing_setting(name: str, wanted: str) -> DiagnosticError:
    """A setting without a default that nobody gave."""
    return _error(
        "FED0807",
        f"the setting `{name}` has no value",
        f"it is {wanted}, without a default",
        f"give it: `with_settings({name}=…)`",
    )


def lengths_differ(path: str, lengths: dict[str, int]) -> DiagnosticError:
    """Stacked arrays that are parts of the same elements, and of different numbers of them."""
    note = ", ".join(f"`{name}` has {count}" for name, count in lengths.items())
    return _error("FED0808", f"the parts of `{path}` have different numbers of elements", note)


def unknown_entry(name: str, path: str, near: str | None, known: list[str]) -> DiagnosticError:
    """A name that a file does not declare."""
    hint = f"did you mean `{near}`?" if near else f"it declares: {', '.join(known)}" if known else ""
    return _error("FED0805", f"{path} declares no `{name}` that can be run", "", hint)


def clients_differ(first: str, second: str) -> DiagnosticError:
    """Two arguments for other clients."""
    return _error(
        "FED0806",
        f"`{first}` and `{second}` are for different clients",
        "every argument at the clients has a value for each of them",
    )


def state_differs(what: str, path: str, found: str, wanted: str, reason: str) -> DiagnosticError:
    """Two computations that do not make an iterative process: the state of one is not that of the other."""
    where = f"at `{path}` it is" if path else "it is"
    note = f"{where} {found}, not {wanted}" + (f": {reason}" if reason else "")
    return _error("FED0809", f"{what} is not the state that `next` takes", note, "give both the same type")


def no_state(name: str, found: str) -> DiagnosticError:
    """A `next` without a state to take, or to give."""
    return _error(
        "FED0810",
        f"`{name}` is no `next` of an iterative process",
        f"its type is {found}",
        "its first parameter is the state; it gives the next state alone, first of a tuple, or as the field `state`",
    )


def not_traced(name: str, note: str, hint: str, span: Span) -> DiagnosticError:
    """Python in a traced body that cannot be a part of the program."""
    return _error("FED0811", f"`{name}` cannot be traced", note, hint, span)


def no_type(found: str, note: str, hint: str, span: Span) -> DiagnosticError:
    """A Python value that stands for no type."""
    return _error("FED0812", f"{found} is no type", note, hint, span)


def not_inferred(name: str, found: str, span: Span) -> DiagnosticError:
    """A Python argument of a function without types, whose type cannot be told from it."""
    hint = f"give the types: `{name}.typed(…)`, or in the decorator"
    return _error("FED0813", f"`{name}` has no types, and its argument does not say one", f"it is {found}", hint, span)


def collect_refused(span: Span) -> DiagnosticError:
    """`federated_collect` in a traced program that does not allow it."""
    note = "every client's value would be visible at the server"
    hint = 'say so where the program is made: `@fl.federated_computation(…, allow="collect")`'
    return _error("FED0814", "`federated_collect` moves raw data", note, hint, span)
