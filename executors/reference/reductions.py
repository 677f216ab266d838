"""Reductions, softmax, sorting. float16 and bfloat16 are added up in float32 and rounded once."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from fedlang.ir.graph import Node
from fedlang.source import Span

from .kernel import Compile, Kernel, Maker, Numbers, attributes_of, in_single, plain


def least(dtype: np.dtype[Any]) -> Any:
    """The value below all others: -inf, the least integer, false."""
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind in "iu" else np.array(-np.inf, dtype)


def greatest(dtype: np.dtype[Any]) -> Any:
    """The value above all others: inf, the greatest integer, true."""
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).max if dtype.kind in "iu" else np.array(np.inf, dtype)


def _sum(x: Numbers, axes: tuple[int, ...]) -> Any:
    return np.add.reduce(x, axis=axes, dtype=x.dtype)


def _product(x: Numbers, axes: tuple[int, ...]) -> Any:
    return np.prod(x, axis=axes, dtype=x.dtype)


def _max(x: Numbers, axes: tuple[int, ...]) -> Any:
    return np.max(x, axis=axes, initial=least(x.dtype))


def _min(x: Numbers, axes: tuple[int, ...]) -> Any:
    return np.min(x, axis=axes, initial=greatest(x.dtype))


def _all(x: Numbers, axes: tuple[int, ...]) -> Any:
    return np.all(x, axis=axes)


def _any(x: Numbers, axes: tuple[int, ...]) -> Any:
    return np.any(x, axis=axes)


def _over_axes(function: Any) -> Maker:
    """A reduction over the axes that the attribute `axes` names."""
    once = in_single(function)

    def maker(node: Node, compile: Compile, span: Span | None) -> Kernel:
        axes = attributes_of(node)["axes"]
        return lambda frame, x: once(x, axes=axes)

    return maker


def _along_axis(function: Any) -> Maker:
    """An operation along the axis that the attribute `axis` names."""
    once = in_single(function)

    def maker(node: Node, compile: Compile, span: Span | None) -> Kernel:
        axis = attributes_of(node)["axis"]
        return lambda frame, x: once(x, axis=axis)

    return maker


def _place(function: Any) -> Maker:
    """As `_along_axis`, for operations whose result is an index."""

    def maker(node: Node, compile: Compile, span: Span | None) -> Kernel:
        axis = attributes_of(node)["axis"]
        return lambda frame, x: np.asarray(function(_comparable(x), axis=axis)).astype(np.int32)

    return maker


def _comparable(x: Numbers) -> Numbers:
    return np.asarray(x, np.float32) if x.dtype == ml_dtypes.bfloat16 else x


def softmax(x: Numbers) -> Numbers:
    """Over the last axis."""
    raised = np.exp(x - np.max(x, axis=-1, keepdims=True, initial=least(x.dtype)))
    result: Numbers = raised / np.sum(raised, axis=-1, keepdims=True)
    return result


def log_softmax(x: Numbers) -> Numbers:
    """Over the last axis."""
    shifted = x - np.max(x, axis=-1, keepdims=True, initial=least(x.dtype))
    result: Numbers = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return result


def sparse_softmax_cross_entropy(logits: Numbers, labels: Numbers) -> Numbers:
    """Minus the log of each label's probability; NaN for a label that is none of the classes."""
    classes = logits.shape[-1]
    known = (labels >= 0) & (labels < classes)
    if not classes:
        return np.full(labels.shape, np.nan, logits.dtype)
    index = np.where(known, labels, 0)[..., None]
    picked = np.take_along_axis(log_softmax(logits), index, axis=-1)[..., 0]
    return np.where(known, -picked, np.array(np.nan, logits.dtype))


def _cumulative_sum(x: Numbers, axis: int) -> Numbers:
    return np.cumsum(x, axis=axis, dtype=x.dtype)


def _sort(x: Numbers, axis: int) -> Numbers:
    return np.sort(x, axis=axis, kind="stable")


def _arg_sort(x: Numbers, axis: int) -> Numbers:
    return np.argsort(x, axis=axis, kind="stable")


KERNELS: dict[str, Maker] = {
    "reduce_sum": _over_axes(_sum),
    "reduce_product": _over_axes(_product),
    "reduce_max": _over_axes(_max),
    "reduce_min": _over_axes(_min),
    "reduce_all": _over_axes(_all),
    "reduce_any": _over_axes(_any),
    "arg_max": _place(np.argmax),
    "arg_min": _place(np.argmin),
    "cumulative_sum": _along_axis(_cumulative_sum),
    "softmax": plain(in_single(softmax)),
    "log_softmax": plain(in_single(log_softmax)),
    "sparse_softmax_cross_entropy": plain(in_single(sparse_softmax_cross_entropy)),
    "sort": _along_axis(_sort),
    "arg_sort": _place(_arg_sort),
}
