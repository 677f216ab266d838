"""Values as TensorFlow Federated printed them in 2019: `<a=1,b=<2,3>>`.

A leaf with a name prints as `format` shows it, which widens a float32 to Python's float (`0.13611111044883728`); a leaf
without one as `str` does (`0.13611111`). Text is bytes there, and arrays print as NumPy prints them. Source:
`anonymous_tuple.py` of tensorflow_federated 0.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedlang.types.tff import NO_NAMES, shown_name


def print_tff_value(value: Any, names: Mapping[str, str] = NO_NAMES, path: str = "") -> str:
    """A result of a computation in TFF's notation. `names` renames fields, by name or dotted path."""
    match value:
        case Mapping():
            return f"<{','.join(_field(name, item, names, _join(path, name)) for name, item in value.items())}>"
        case tuple() if hasattr(value, "_asdict"):
            return print_tff_value(value._asdict(), names, path)
        case tuple():
            return f"<{','.join(print_tff_value(item, names, _join(path, str(k))) for k, item in enumerate(value))}>"
        case list():
            return f"[{', '.join(print_tff_value(item, names, path) for item in value)}]"
        case str():
            return str(value.encode())
        case _:
            return str(value)


def _field(name: str, value: Any, names: Mapping[str, str], path: str) -> str:
    is_leaf = not isinstance(value, Mapping | tuple | list | str)
    shown = format(value) if is_leaf else print_tff_value(value, names, path)
    called = shown_name(name, names, path)
    return f"{called}={shown}" if called else shown


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
