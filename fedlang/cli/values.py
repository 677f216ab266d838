"""Values as a command prints them: in the language's notation for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedlang.embed.computations import ClientState

WIDTH = 100
LARGEST = 1000  # numbers of a tensor that are all shown


def show_value(value: Any) -> str:
    """A value in the language's notation; what does not fit a line has a field or client a line."""
    flat = _flat(value)
    if len(flat) <= WIDTH and "\n" not in flat:
        return flat
    parts = named_parts(value)
    if parts is None:
        return flat
    lines = [f"{name}: {_indented(show_value(part))}" for name, part in parts.items()]
    return "{\n" + "".join(f"  {line},\n" for line in lines) + "}"


def named_parts(value: Any) -> dict[str, Any] | None:
    """The fields of a record or the clients of a value at the clients; None of anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, ClientState) and value.known:
        return {client: value[client] for client in value.known}
    return None


def _flat(value: Any) -> str:
    parts = named_parts(value)
    if parts is not None:
        return "{" + ", ".join(f"{name}: {_flat(part)}" for name, part in parts.items()) + "}"
    if isinstance(value, ClientState):
        return f"{_flat(value['*'])} at every client"
    if isinstance(value, tuple):
        return f"({', '.join(_flat(item) for item in value)})"
    if isinstance(value, list):
        return f"[{', '.join(_flat(item) for item in value)}]"
    return _array(np.asarray(value))


def _array(array: np.ndarray[Any, Any]) -> str:
    if not array.ndim:
        return _scalar(array[()])
    text = np.array2string(array, separator=", ", threshold=LARGEST, max_line_width=WIDTH, formatter={"all": _scalar})
    return text if array.size <= LARGEST else f"{text}  # {array.dtype}[{', '.join(map(str, array.shape))}]"


def _scalar(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return str(value)


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def json_value(value: Any) -> Any:
    """The value as JSON-ready data; numbers that JSON does not have are the strings "nan", "inf" and "-inf"."""
    parts = named_parts(value)
    if parts is not None:
        return {name: json_value(part) for name, part in parts.items()}
    if isinstance(value, ClientState):
        return json_value(value["*"])
    if isinstance(value, tuple | list):
        return [json_value(item) for item in value]
    return _json_number(np.asarray(value).tolist())


def _json_number(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_number(item) for item in value]
    finite = not isinstance(value, float) or value - value == 0.0
    return value if finite else str(value)
