"""Elementwise operations. Inputs have equal shapes: nothing broadcasts, a mismatch is an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fedlang.ir.graph import Node
from fedlang.run.values import numpy_dtype
from fedlang.source import Span
from fedlang.types.dtypes import FLOATS, INTEGERS, integer_range

from .kernel import Compile, Frame, Kernel, Maker, Numbers, in_single, plain


def _pairwise(function: Callable[..., Any]) -> Maker:
    def kernel(frame: Frame, a: Numbers, b: Numbers) -> Any:
        if a.shape != b.shape:
            raise ValueError(f"shapes {list(a.shape)} and {list(b.shape)} differ")
        return function(a, b)

    return lambda node, compile, span: kernel


def _floats_only(function: Callable[..., Any]) -> Callable[..., Any]:
    """Rounding of integers changes nothing."""
    return lambda x: x if x.dtype.kind in "iub" else function(x)


def select(condition: Numbers, a: Numbers, b: Numbers) -> Any:
    """`a` where the condition holds, else `b`."""
    if not condition.shape == a.shape[: condition.ndim] == b.shape[: condition.ndim]:
        raise ValueError(f"shapes {list(condition.shape)}, {list(a.shape)} and {list(b.shape)} differ")
    spread = condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim))  # a key has an axis more
    return np.where(spread, a, b)


def sigmoid(x: Numbers) -> Any:
    """1 / (1 + exp(-x)), with no overflow on either side."""
    small = np.exp(-np.abs(x))
    one = np.ones((), x.dtype)
    return np.where(x >= 0, one / (one + small), small / (one + small))


def softplus(x: Numbers) -> Any:
    """log(1 + exp(x)), with no overflow."""
    return np.maximum(x, np.zeros((), x.dtype)) + np.log1p(np.exp(-np.abs(x)))


def erf(x: Numbers) -> Any:
    """The error function, in float64 and rounded once."""
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


UNARY: dict[str, Callable[..., Any]] = {
    "negate": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "floor": _floats_only(np.floor),
    "ceil": _floats_only(np.ceil),
    "round": _floats_only(np.rint),
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: np.ones((), x.dtype) / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "relu": lambda x: np.maximum(x, np.zeros((), x.dtype)),
    "erf": erf,
    "square": np.square,
    "reciprocal": lambda x: np.ones((), x.dtype) / x,
}
BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
}


def float_to_integer(x: Numbers, dtype: str) -> Any:
    """Truncated toward zero; beyond the range the nearest end of it; NaN gives 0."""
    low, high = integer_range(dtype)
    whole = np.trunc(np.asarray(x, np.float64))
    inside = (whole >= float(low)) & (whole < float(high + 1))
    result = np.where(inside, whole, 0.0).astype(dtype)
    result = np.where(whole >= float(high + 1), np.array(high, dtype), result)
    return np.where(whole < float(low), np.array(low, dtype), result)


def _cast(node: Node, compile: Compile, span: Span | None) -> Kernel:
    name = node.tensor.dtype
    dtype = numpy_dtype(name)
    floats = frozenset(numpy_dtype(each) for each in FLOATS)

    def kernel(frame: Frame, x: Numbers) -> Any:
        if name in INTEGERS and x.dtype in floats:
            return float_to_integer(x, name)
        return np.asarray(x).astype(dtype)

    return kernel


def _one_hot(node: Node, compile: Compile, span: Span | None) -> Kernel:
    dtype, depth = numpy_dtype(node.tensor.dtype), node.tensor.shape[-1]

    def kernel(frame: Frame, index: Numbers) -> Any:
        return (np.asarray(index)[..., None] == np.arange(frame.size(depth))).astype(dtype)

    return kernel


KERNELS: dict[str, Maker] = {
    **{op: plain(in_single(function)) for op, function in UNARY.items()},
    **{op: _pairwise(function) for op, function in BINARY.items()},
    "logical_not": plain(np.logical_not),
    "is_finite": plain(np.isfinite),
    "is_nan": plain(np.isnan),
    "select": plain(select),
    "stop_gradient": plain(lambda x: x),
    "cast": _cast,
    "one_hot": _one_hot,
}
