"""Arithmetic on scalars that are known when compiling, as every executor does it.

Only what is exact or correctly rounded is computed here: what an executor may compute a little differently (`exp`, a
product of matrices) is left to it, and so is a result that executors treat differently (a subnormal) or that no
constant can be (minus zero, not a number).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fedlang.types.dtypes import FLOATS, INTEGERS, integer_range

Scalar = bool | int | float
KNOWN = ("bool", *INTEGERS, "float16", "float32", "float64")

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "negate": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
    "is_finite": np.isfinite,
    "is_nan": np.isnan,
}


def compute(op: str, dtype: str, values: tuple[Scalar, ...], result: str) -> Scalar | None:
    """The result of an operation on scalars of one dtype; None where it is left to the executor."""
    function = FUNCTIONS.get(op)
    if function is None or dtype not in KNOWN or result not in KNOWN:
        return None
    if op in ("floor_divide", "remainder") and values[1] == 0:
        return None
    with np.errstate(all="ignore"):
        found = function(*(np.array(value, dtype) for value in values))
    return constant_of(found, result)


def convert(value: Scalar, dtype: str, result: str) -> Scalar | None:
    """A scalar as another dtype: floats are cut toward zero and saturate, integers wrap."""
    if dtype not in KNOWN or result not in KNOWN:
        return None
    if dtype in FLOATS and result in INTEGERS:
        return _saturated(float(value), result)
    with np.errstate(all="ignore"):
        return constant_of(np.array(value, dtype).astype(result), result)


def _saturated(value: float, dtype: str) -> int:
    low, high = integer_range(dtype)
    if value != value:
        return 0
    return low if value <= low else high if value >= high else int(value)


def constant_of(value: Any, dtype: str) -> Scalar | None:
    """A NumPy scalar as a constant; None for one that no constant should be."""
    if dtype not in FLOATS:
        return bool(value) if dtype == "bool" else int(value)
    number = float(value)
    is_small = 0 < abs(number) < float(np.finfo(dtype).tiny)
    return None if number != number or is_small or str(number) == "-0.0" else number
