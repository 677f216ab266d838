"""What can be wrong with client data. One function a mistake; each gives the exception to raise."""

from __future__ import annotations

from collections.abc import Sequence

from fedlang.diagnostics import Diagnostic, DiagnosticError
from fedlang.names.nearest import nearest


def _error(code: str, title: str, *notes: str, hint: str = "") -> DiagnosticError:
    return DiagnosticError(Diagnostic(code, title, notes=notes, hint=hint))


def unknown_data(name: str, known: Sequence[str]) -> DiagnosticError:
    """A data set that does not come with fedlang."""
    there_are = f"there is {_list(known)}"
    return _error("FED0701", f"no data set is called `{name}`", there_are, hint=_nearest(name, known))


def lengths_differ(client: str, first: str, first_length: int, second: str, second_length: int) -> DiagnosticError:
    """Leaves of one client that hold different numbers of examples."""
    title = f"client {client} has {first_length} examples in {_leaf(first)} and {second_length} in {_leaf(second)}"
    return _error("FED0702", title, hint="every leaf has one entry for each example")


def not_a_sequence(client: str, path: str) -> DiagnosticError:
    """A single number where an array of examples is needed."""
    title = f"client {client} has a single value in {_leaf(path)}"
    return _error("FED0703", title, hint="the first axis of every leaf counts the examples")


def no_elements(client: str) -> DiagnosticError:
    """An empty list, dataset or record: nothing tells what its elements would be."""
    hint = "give a client without examples as arrays whose first axis is 0, such as `np.zeros((0, 784), np.float32)`"
    return _error("FED0704", f"client {client} has no elements, so their type cannot be told", hint=hint)


def wrong_dtype(client: str, path: str, found: str) -> DiagnosticError:
    """Values that no tensor holds."""
    title = f"client {client} has values of dtype {found} in {_leaf(path)}"
    return _error("FED0705", title, hint="use an array of numbers, bools or strings, all rows of one shape")


def structures_differ(client: str, index: int, first: Sequence[str], found: Sequence[str]) -> DiagnosticError:
    """Elements of one sequence whose fields differ."""
    title = f"client {client}: element {index} has other fields than element 0"
    return _error("FED0706", title, f"element 0 has {_list(first)}", f"element {index} has {_list(found)}")


def shapes_differ(client: str, path: str, index: int, first: Sequence[int], found: Sequence[int]) -> DiagnosticError:
    """Examples of one client whose shapes differ."""
    title = f"client {client}: examples 0 and {index} have different shapes in {_leaf(path)}"
    return _error("FED0707", title, f"example 0 has {list(first)}", f"example {index} has {list(found)}")


def unreadable_value(client: str, found: str) -> DiagnosticError:
    """Something that holds no examples."""
    hint = "use a dict of arrays, a list of elements, a generator or a tf.data.Dataset"
    return _error("FED0708", f"client {client} has a value of type {found}, which holds no examples", hint=hint)


def wrong_count(what: str, value: object, needed: str) -> DiagnosticError:
    """A number of clients, a batch size and the like out of range."""
    return _error("FED0709", f"{what} is {value}; it must be {needed}")


def unknown_field(name: str, known: Sequence[str]) -> DiagnosticError:
    """A field that the examples do not have."""
    return _error(
        "FED0710", f"the examples have no field `{name}`", f"they have {_list(known)}", hint=_nearest(name, known)
    )


def no_clients(action: str) -> DiagnosticError:
    """Data of no clients where there must be some."""
    return _error("FED0711", f"there are no clients to {action}")


def other_fields(client: str, found: Sequence[str], first: str, there: Sequence[str]) -> DiagnosticError:
    """Clients whose examples have different fields."""
    title = f"the examples of client {client} have other fields than those of client {first}"
    return _error("FED0712", title, f"client {first} has {_list(there)}", f"client {client} has {_list(found)}")


def unreadable_clients(found: str) -> DiagnosticError:
    """Something that holds no clients."""
    hint = "use client data, a dict by client id, or a list with one entry for each client"
    return _error("FED0713", f"a value of type {found} holds no clients", hint=hint)


def unreadable_path(path: object, why: str) -> DiagnosticError:
    """A file or folder that is not there, or that may not be read."""
    return _error("FED0714", f"`{path}` cannot be read: {why}")


def damaged_file(path: object, layout: str, why: str, hint: str = "") -> DiagnosticError:
    """A file that is cut short, or that is not of its layout at all."""
    return _error("FED0715", f"`{path}` is damaged, or no {layout} file", why, hint=hint)


def missing_part(path: object, part: str, known: Sequence[str]) -> DiagnosticError:
    """A file without a group, a table, a column or a key that its layout has."""
    notes = (f"there is {_list(known)}",) if known else ()
    return _error("FED0716", f"`{path}` has no {part}", *notes)


def wrong_feature(client: str, feature: str, found: str, needed: str) -> DiagnosticError:
    """Values in a file that are not what its reader was told to find."""
    title = f"client {client} has {found} in the feature `{feature}`"
    return _error("FED0717", title, f"needed is {needed}")


def unknown_split(path: object, split: str, known: Sequence[str]) -> DiagnosticError:
    """A split that a file does not have."""
    there_is = f"there is {_list(known)}"
    return _error("FED0718", f"`{path}` has no split `{split}`", there_is, hint=_nearest(split, known))


def no_download(url: str, why: str, place: object) -> DiagnosticError:
    """A published file that cannot be fetched."""
    hint = f"fetch it where there is a connection, and put it at {place}"
    return _error("FED0719", f"{url} cannot be downloaded", why, hint=hint)


def wrong_checksum(path: object, found: str, needed: str, hint: str) -> DiagnosticError:
    """A file that is not the one that was published."""
    notes = (f"its SHA-256 is {found}", f"that of the published file is {needed}")
    return _error("FED0720", f"`{path}` is not the published file", *notes, hint=hint)


def missing_library(library: str, extra: str) -> DiagnosticError:
    """A library that is needed and not installed."""
    return _error("FED0721", f"this needs {library}", hint=f"pip install 'fedlang[{extra}]'")


def cannot_write(path: object, why: str, hint: str = "") -> DiagnosticError:
    """A file that cannot be written, or data that its layout has no place for."""
    return _error("FED0722", f"`{path}` cannot be written: {why}", hint=hint)


def _leaf(path: str) -> str:
    return f"`{path}`" if path else "its array"


def _list(names: Sequence[str]) -> str:
    return ", ".join(_leaf(name) for name in names)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    return f"did you mean `{near}`?" if near else ""
