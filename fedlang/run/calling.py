"""One call of a function from Python: arrays handed out, results checked, failures told in a line.

The function gets its arguments to read: they may be the user's own data. What it gives must be what is declared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import LeafType, Tensor
from fedlang.run.errors import extern_failed, wrong_result, wrong_result_count
from fedlang.run.sequences import Elements, LeafValue, Rows
from fedlang.run.values import as_array, shown_type
from fedlang.source import Span
from fedlang.types.dims import Size

Wanted = tuple[tuple[LeafType, tuple[int | None, ...]], ...]
"""The declared leaves of a call, each with the sizes that are known where it is made."""

_FRAME = re.compile(r'Detected at node|\s*File "|Graph execution error|\d+ root error')
_AROUND = re.compile(r"\{\{function_node [^}]*\}\} ?| \[Op:[^\]]*\]( name:.*)?$|^\s*\(\d+\)\s+[A-Z_]+: ")


def call_function(
    handle: str, function: Callable[..., Any], arguments: Sequence[LeafValue], wanted: Wanted, span: Span | None
) -> tuple[Any, ...]:
    """The results. `DiagnosticError` FED0603 where the function raises, FED0608 where it gives something else."""
    try:
        given = function(*map(to_read, arguments))
    except DiagnosticError:
        raise
    except Exception as error:
        raise extern_failed(handle, reason_of(error), span) from error
    results = given if isinstance(given, tuple) else (given,)
    if len(results) != len(wanted):
        raise wrong_result_count(handle, len(results), len(wanted), span)
    return tuple(_checked(handle, k, results, each, span) for k, each in enumerate(wanted))


def to_read(value: LeafValue) -> Any:
    """The same values, which cannot be written to."""
    if isinstance(value, Rows):
        return Rows(_to_read(value.rows), value.splits, value.order)
    if isinstance(value, Elements):
        return Elements(tuple(map(_to_read, value.items)))
    return _to_read(value)


def _to_read(array: Any) -> Any:
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def _checked(
    handle: str, k: int, results: tuple[Any, ...], wanted: tuple[LeafType, tuple[int | None, ...]], span: Span | None
) -> Any:
    leaf, sizes = wanted
    given = results[k]
    if not isinstance(leaf, Tensor):
        if isinstance(given, Rows | Elements):
            return given
        raise wrong_result(handle, k, len(results), _shown(given), str(leaf), span)
    try:
        array = as_array(given, leaf.dtype)
    except (TypeError, ValueError):
        array = None
    if array is None or not _fits(array.shape[:-1] if leaf.dtype == "Key" else array.shape, sizes):
        raise wrong_result(handle, k, len(results), _shown(given), shown_type(leaf.dtype, _declared(leaf, sizes)), span)
    return array


def _fits(shape: Sequence[int | None], sizes: Sequence[int | None]) -> bool:
    """Whether two shapes are the same as far as both are known."""
    return len(shape) == len(sizes) and all(a == b or a is None or b is None for a, b in zip(shape, sizes, strict=True))


def _declared(leaf: Tensor, sizes: Sequence[int | None]) -> tuple[Size, ...]:
    """The declared shape with the numbers that are known."""
    return tuple(size if number is None else number for size, number in zip(leaf.shape, sizes, strict=True))


def _shown(given: object) -> str:
    """What a function gave, as a type is written; what is no array by its Python type."""
    try:
        array = np.asarray(given)
    except ValueError:
        return type(given).__name__
    return type(given).__name__ if array.dtype.kind in "OUS" else shown_type(array.dtype.name, array.shape)


def reason_of(error: Exception) -> str:
    """Why a function failed, in its own words; of TensorFlow's without where each operation was made."""
    text = str(error).strip()
    if type(error).__module__.startswith("tensorflow."):
        return " ".join(_told(text)) or type(error).__name__
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _told(text: str) -> Iterator[str]:
    """The lines between the list of places and what follows the reason."""
    begun = False
    for line in text.splitlines():
        if begun and (not line.strip() or line.startswith("Traceback (") or "[[{{node" in line):
            return
        if line.strip() and "[[{{node" not in line and not _FRAME.match(line):
            begun = True
            yield _AROUND.sub("", _AROUND.sub("", line)).strip()
