"""Options of executors, checked when an executor is made: each wrong value is FED0626, which says what there is."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from fedlang.run.errors import bad_option, unknown_choice


def check_count(executor: str, option: str, value: object, example: str = "") -> None:
    """A number of things: whole, 1 or more. `example` says how one may be written."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise bad_option(executor, option, value, f"a whole number, 1 or more{example and f', such as {example}'}")


def check_choice(executor: str, option: str, value: object, known: Sequence[str]) -> None:
    """One of a few words."""
    if value not in known:
        raise unknown_choice(executor, option, value, known)


def check_function(executor: str, option: str, value: object) -> None:
    """Something that can be called."""
    if not callable(value):
        raise bad_option(executor, option, value, "a function")
