"""Computations whose type, in the notation of TensorFlow Federated, has names that the language cannot have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Spelled:
    """A computation, or a step of a process, that knows what its fields are called in TensorFlow."""

    def __init__(self, inner: Any, names: Mapping[str, str], *, zipped: bool = True) -> None:
        self._inner = inner
        self._names = names
        self._zipped = zipped

    @property
    def inner(self) -> Any:
        """The computation itself."""
        return self._inner

    @property
    def type_signature(self) -> SpelledType:
        """The type: `str` in the language's notation, `to_tff()` in that of TensorFlow Federated."""
        return SpelledType(self._inner.type_signature, self._names, self._zipped)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._inner(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __repr__(self) -> str:
        return repr(self._inner)


class SpelledType:
    """A type with those names."""

    def __init__(self, inner: Any, names: Mapping[str, str], zipped: bool) -> None:
        self._inner = inner
        self._names = names
        self._zipped = zipped

    def to_tff(self) -> str:
        """The type as TensorFlow Federated printed it in 2019, byte for byte."""
        found: str = self._inner.to_tff(self._names, zipped=self._zipped)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __eq__(self, other: object) -> bool:
        return bool(self._inner == (other._inner if isinstance(other, SpelledType) else other))

    def __hash__(self) -> int:
        return hash(self._inner)

    def __str__(self) -> str:
        return str(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)

    def __format__(self, spec: str) -> str:
        return self.to_tff() if spec == "tff" else format(self._inner, spec)
