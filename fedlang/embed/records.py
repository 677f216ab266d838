"""Records as Python sees them: attributes, items, unpacking, equality, printed forms.

A `Record` is a mapping; a `Round`, what one call of an iterative process gives, is a tuple with names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fedlang.embed.notebook import value_html
from fedlang.embed.tff import print_tff_value
from fedlang.types.tff import NO_NAMES


class Record(Mapping[str, Any]):
    """A record's value.

    `r.field`, `r["field"]`, `r[0]`, `r[:2]`, `dict(r)`, `r == other`; values are arrays, numbers, tuples and records.
    Iteration gives the names. `f"{r:tff}"` prints as TensorFlow Federated did.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_fields", dict(fields))

    def __getattr__(self, name: str) -> Any:
        fields = object.__getattribute__(self, "_fields")
        if name in fields:
            return fields[name]
        raise AttributeError(f"the record has no field `{name}`; it has: {', '.join(fields)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("records do not change: `replace` gives a changed copy")

    def __getitem__(self, name: str | int | slice) -> Any:
        return self._fields[name] if isinstance(name, str) else tuple(self._fields.values())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._fields]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Mapping)
            and self.keys() == other.keys()
            and all(is_equal(self[k], other[k]) for k in self)
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Record], tuple[dict[str, Any]]]:
        return Record, (self._fields,)

    def replace(self, **changes: object) -> Record:
        """A copy with some fields changed."""
        unknown = [name for name in changes if name not in self._fields]
        if unknown:
            raise AttributeError(f"the record has no field `{unknown[0]}`; it has: {', '.join(self._fields)}")
        return Record({**self._fields, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries."""
        return {name: value.to_dict() if isinstance(value, Record) else value for name, value in self._fields.items()}

    def _asdict(self, *, recursive: bool = False) -> dict[str, Any]:
        return self.to_dict() if recursive else dict(self._fields)

    def to_tff(self, names: Mapping[str, str] = NO_NAMES) -> str:
        """The record as TensorFlow Federated printed one in 2019: `<loss=2.965381383895874,examples=972.0>`.

        `names` gives fields other names there, by name or dotted path: `{"dense.kernel": "dense/kernel"}`.
        """
        return print_tff_value(self, names)

    def __format__(self, spec: str) -> str:
        return self.to_tff() if spec == "tff" else format(str(self), spec)

    def _repr_html_(self) -> str:
        return value_html(self)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name}: {_shown(value)}" for name, value in self._fields.items()) + "}"


class Round(tuple[Any, ...]):
    """What a round gives: it unpacks (`state, metrics = …`), and its parts have names (`found.metrics`)."""

    names: tuple[str, ...]

    def __new__(cls, parts: Mapping[str, Any]) -> Round:
        made = super().__new__(cls, parts.values())
        made.names = tuple(parts)
        return made

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("names", ()):
            return self[self.names.index(name)]
        raise AttributeError(f"the round gives no `{name}`; it gives: {', '.join(self.__dict__.get('names', ()))}")

    def __reduce__(self) -> tuple[type[Round], tuple[dict[str, Any]]]:
        return Round, (dict(zip(self.names, self, strict=True)),)

    def _asdict(self, *, recursive: bool = False) -> dict[str, Any]:
        return Record(dict(zip(self.names, self, strict=True)))._asdict(recursive=recursive)

    def to_tff(self, names: Mapping[str, str] = NO_NAMES) -> str:
        """As TensorFlow Federated printed it: `<<…>,<loss=…>>`, the parts without names."""
        return print_tff_value(tuple(self), names)

    def __format__(self, spec: str) -> str:
        return self.to_tff() if spec == "tff" else format(str(self), spec)

    def _repr_html_(self) -> str:
        return value_html(self._asdict())

    def __repr__(self) -> str:
        return f"({', '.join(f'{name}={part!r}' for name, part in zip(self.names, self, strict=True))})"


def is_equal(a: object, b: object) -> bool:
    """Whether two values are equal, arrays in them element by element."""
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(is_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(is_equal(a[name], b[name]) for name in a)
    if isinstance(a, np.ndarray | np.generic) or isinstance(b, np.ndarray | np.generic):
        return bool(np.array_equal(np.asarray(a), np.asarray(b)))
    return bool(a == b)


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"{value.dtype}[{', '.join(str(size) for size in value.shape)}]"
    return str(value) if isinstance(value, np.generic | np.ndarray) else repr(value)
