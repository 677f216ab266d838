"""Data sets for simulations: `mnist` and `shakespeare.load_sample` come with fedlang, the others are downloaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedlang.simulation.datasets import cifar100, emnist, mnist, shakespeare, stackoverflow

__all__ = ["cifar100", "emnist", "mnist", "shakespeare", "stackoverflow"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
