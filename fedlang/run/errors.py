"""What can go wrong when a program runs. One function a mistake; each gives the exception to raise."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from fedlang.diagnostics import Diagnostic, DiagnosticError, Label
from fedlang.names.nearest import nearest
from fedlang.source import Span


def _error(
    code: str, title: str, span: Span | None = None, label: str = "", *, notes: Sequence[str] = (), hint: str = ""
) -> DiagnosticError:
    labels = () if span is None else (Label(span, label),)
    return DiagnosticError(Diagnostic(code, title, labels, tuple(notes), hint))


def size_mismatch(
    size: str, first: str, first_value: int, second: str, second_value: int, span: Span | None
) -> DiagnosticError:
    """One size has two values."""
    title = f"`{size}` is {first_value} in {first} and {second_value} in {second}"
    return _error("FED0601", title, span, f"`{size}` is {second_value} here")


def wrong_argument(name: str, found: str, wanted: str, span: Span | None) -> DiagnosticError:
    """A value that is not of its parameter's type reaches a graph."""
    return _error("FED0601", f"{name} is {found}, not {wanted}", span)


def check_failed(message: str, span: Span | None) -> DiagnosticError:
    """A `check` whose condition is false."""
    return _error("FED0602", message or "a check failed", span, "this does not hold")


def operation_failed(op: str, reason: str, span: Span | None) -> DiagnosticError:
    """An operation that its inputs do not allow."""
    return _error("FED0603", f"`{op}` failed: {reason}", span)


def extern_failed(handle: str, reason: str, span: Span | None) -> DiagnosticError:
    """A function from Python that raises."""
    hint = "arguments can only be read: change a copy of them (`x = x.copy()`)" if "read-only" in reason else ""
    return _error("FED0603", f"`{handle}` from Python failed: {reason}", span, "called here", hint=hint)


def wrong_result(
    handle: str, result: int, results: int, given: str, declared: str, span: Span | None
) -> DiagnosticError:
    """A function from Python that gives something else than it declares."""
    which = f"`{handle}` from Python gives" if results == 1 else f"result {result + 1} of `{handle}` from Python is"
    hint = f"give {declared}, or declare in `extern fn {handle}` what it gives"
    return _error("FED0608", f"{which} {given}, not {declared}", span, f"declared as {declared}", hint=hint)


def wrong_result_count(handle: str, given: int, declared: int, span: Span | None) -> DiagnosticError:
    """A function from Python that gives more or fewer results than it declares."""
    counted = f"{given} result{'' if given == 1 else 's'}"
    notes = ["a tuple has a result for each array of what is declared: records and tuples in the order of their fields"]
    hint = f"give {declared}, or declare in `extern fn {handle}` what it gives"
    return _error(
        "FED0608", f"`{handle}` from Python gives {counted}, not {declared}", span, "", notes=notes, hint=hint
    )


def extern_without_call(handle: str, found: str) -> DiagnosticError:
    """Something registered that cannot be called with arrays."""
    hint = "register a function, or an object with a method `call`, that takes an array for each argument"
    return _error("FED0609", f"the function `{handle}` cannot be {found}", hint=hint)


def unknown_extern(handle: str, known: Sequence[str], span: Span | None) -> DiagnosticError:
    """A function from Python that nobody has registered."""
    return _error("FED0604", f"no Python function is registered as `{handle}`", span, hint=_nearest(handle, known))


def unknown_executor(name: str, known: Sequence[str]) -> DiagnosticError:
    """A name that no executor has."""
    note = f"there are {', '.join(f'`{each}`' for each in sorted(known))}"
    return _error("FED0605", f"no executor is called `{name}`", notes=[note], hint=_nearest(name, known))


def executor_unavailable(name: str, reason: str, package: str = "") -> DiagnosticError:
    """An executor whose package cannot be imported, or fails to make it."""
    notes = [f"it comes from the package `{package}`"] if package else []
    hint = f"mend or remove `{package}`; `fed executors` lists the others" if package else ""
    return _error("FED0606", f"the executor `{name}` cannot be loaded: {reason}", notes=notes, hint=hint)


def faulty_executor(name: str, what: str) -> DiagnosticError:
    """An executor that does not keep to the protocol."""
    hint = "this is a mistake of the executor's; `fedlang.testing.check_executor` finds such"
    return _error("FED0628", f"the executor `{name}` {what}", hint=hint)


def no_derivative(handle: str, span: Span | None) -> DiagnosticError:
    """A derivative is asked of a Python function that was registered without one."""
    return _error(
        "FED0607",
        f"the Python function `{handle}` has no derivative",
        span,
        "a derivative goes through here",
        notes=["`stop_gradient` around the call takes it as a constant"],
        hint="give what is registered a method `vjp`, or make it a TensorFlow function (`@fl.tf_computation`)",
    )


def no_such_option(executor: str, option: str, known: Sequence[str]) -> DiagnosticError:
    """An option that the executor does not take."""
    notes = [f"it takes {', '.join(f'`{each}`' for each in known)}"] if known else ["it takes none"]
    elsewhere = "the executor `batched` takes `strategy`" if option == "strategy" else ""
    hint = _nearest(option, known) or elsewhere
    return _error("FED0625", f"the executor `{executor}` has no option `{option}`", notes=notes, hint=hint)


def unknown_choice(executor: str, option: str, value: object, known: Sequence[str]) -> DiagnosticError:
    """A value that is none of those that an executor's option takes."""
    note = f"there are {', '.join(f'`{each}`' for each in known)}"
    title = f"`{value}` is no {option} of the executor `{executor}`"
    return _error("FED0626", title, notes=[note], hint=_nearest(str(value), known))


def bad_option(executor: str, option: str, value: object, wanted: str) -> DiagnosticError:
    """A value that is not of the kind that an executor's option takes."""
    title = f"the option `{option}` of the executor `{executor}` cannot be {value!r}"
    return _error("FED0626", title, hint=f"give {wanted}")


def out_of_memory(client: str) -> DiagnosticError:
    """One client alone is too large."""
    title = f"the work of client {client} alone does not fit the memory"
    return _error("FED0627", title, hint="take smaller batches or a smaller model, or run on a larger machine")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 3)
    return f"did you mean {' or '.join(f'`{each}`' for each in near)}?" if near else ""


def client_failed(client: str, cause: DiagnosticError) -> DiagnosticError:
    """What went wrong at one client, with the client's id added."""
    named = [
        each.replace(title=f"client {client}: {each.title}", notes=(*each.notes, f"at client `{client}`"))
        for each in cause.diagnostics
    ]
    return DiagnosticError(*named)


def not_finite(client: str, path: str, span: Span | None) -> DiagnosticError:
    """A client's value has NaN or an infinity."""
    hint = (
        "look for NaN or labels beyond the classes in its data, an empty batch, or steps that are too long;"
        " `Policy(drop_invalid=True)` goes on without it"
    )
    title = f"client {client} sends a value that is not finite{_of(path)}"
    return _error("FED0610", title, span, f"from client `{client}`", hint=hint)


def bad_weight(client: str, weight: float, span: Span | None) -> DiagnosticError:
    """A weight that is negative or not finite."""
    return _error("FED0611", f"client {client} has the weight {weight}", span, "a weight is finite and not negative")


def no_clients(kind: str, path: str, span: Span | None) -> DiagnosticError:
    """A mean, minimum or maximum of nothing."""
    hint = "choose some clients, or say in the program what it is without any: `otherwise = …`"
    return _error("FED0612", f"the {kind} over no clients{_of(path)}", span, hint=hint)


def no_weight(path: str, span: Span | None) -> DiagnosticError:
    """A mean of clients whose weights are all zero."""
    hint = "choose clients that have examples, or say in the program what it is without any: `otherwise = …`"
    return _error("FED0613", f"the weights of all clients are zero{_of(path)}", span, hint=hint)


def overflow(kind: str, dtype: str, path: str, span: Span | None) -> DiagnosticError:
    """An aggregate beyond its dtype."""
    return _error("FED0614", f"the {kind} over the clients does not fit {dtype}{_of(path)}", span)


def shapes_differ(
    first: str, first_shape: tuple[int, ...], second: str, second_shape: tuple[int, ...], path: str, span: Span | None
) -> DiagnosticError:
    """Two clients whose values cannot be combined."""
    title = f"clients {first} and {second} send values of different shapes{_of(path)}"
    notes = [f"client {first} has {list(first_shape)}", f"client {second} has {list(second_shape)}"]
    return _error("FED0615", title, span, notes=notes, hint="nothing broadcasts across clients")


def out_of_bounds(client: str, low: object, high: object, path: str, span: Span | None) -> DiagnosticError:
    """A value outside the range that a secure sum declares."""
    title = f"client {client} sends a value outside {low} to {high}{_of(path)}"
    return _error("FED0616", title, span, f"from client `{client}`")


def unreadable_client(client: str, reason: str) -> DiagnosticError:
    """Client data that cannot be read."""
    return _error("FED0617", f"the data of client {client} cannot be read: {reason}")


def unknown_client(client: str, known: Sequence[str]) -> DiagnosticError:
    """A client that the data does not have. Where no id is near, some of those that there are."""
    near = nearest(client, known)
    hint = _nearest(client, known) or (f"did you mean `{near}`?" if near else "")
    some = ", ".join(f"`{each}`" for each in known[:3]) + (", …" if len(known) > 3 else "")
    notes = [f"the ids are {some}"] if known and not hint else []
    return _error("FED0618", f"there is no client `{client}`", notes=notes, hint=hint)


def missing_input(name: str) -> DiagnosticError:
    """A program run without one of its inputs."""
    return _error("FED0619", f"the input `{name}` has no value")


def duplicate_client(client: str) -> DiagnosticError:
    """One client twice in a cohort."""
    return _error("FED0620", f"client `{client}` is in the cohort twice")


def _of(path: str) -> str:
    return f" (`{path}`)" if path else ""
