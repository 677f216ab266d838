"""Frozen records that cost little to define: what `@dataclass(frozen=True)` gives, at a tenth of the import time.

The front end has over a hundred small record types and `fed check` must answer about as fast as Python starts.
`dataclass` writes and compiles five methods a class; `Frozen` compiles one, `__init__`, and inherits the rest.
Type checkers see a dataclass (PEP 681). Fields listed in `uncompared` count neither in `==` nor in `hash`.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Frozen:
    """The base of a frozen record: annotate the fields in the class body, defaults allowed at the end."""

    uncompared: ClassVar[frozenset[str]] = frozenset({"span", "operator_span", "source"})
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        annotations = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 (not those of a base)
        own = [name for name, kind in annotations.items() if not kind.startswith("ClassVar")]
        cls.field_names = (*cls.field_names, *(name for name in own if name not in cls.field_names))
        setattr(cls, "__match_args__", cls.field_names)  # noqa: B010 (type checkers make their own)
        arguments = [f"{name}=default_{name}" if hasattr(cls, name) else name for name in cls.field_names]
        defaults = {f"default_{name}": getattr(cls, name) for name in cls.field_names if hasattr(cls, name)}
        stores = "".join(f"\n d[{name!r}] = {name}" for name in cls.field_names)
        scope: dict[str, object] = {}
        exec(f"def __init__(self, {', '.join(arguments)}):\n d = self.__dict__{stores}", defaults, scope)
        cls.__init__ = scope["__init__"]  # type: ignore[method-assign,assignment]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: `{name}` cannot be set")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = self.__dict__, other.__dict__
        return all(mine[name] == theirs[name] for name in self.field_names if name not in self.uncompared)

    def __hash__(self) -> int:
        mine = self.__dict__
        return hash((type(self), *(mine[name] for name in self.field_names if name not in self.uncompared)))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.field_names if name not in self.uncompared)
        return f"{type(self).__name__}({shown})"

    def replace(self, **changes: object) -> Self:
        """A copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})
