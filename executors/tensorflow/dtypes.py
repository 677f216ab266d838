"""The language's dtypes as TensorFlow has them. A key is two uint32 words on an axis that the type does not show."""

from __future__ import annotations

from typing import Any

from fedlang.ir.graph import Tensor
from fedlang.types.dims import Size
from fedlang.types.dtypes import DTYPES

from .start import tf

TF_DTYPES: dict[str, Any] = {name: getattr(tf, name) for name in DTYPES if name != "Key"} | {"Key": tf.uint32}


def hidden_axes(dtype: str) -> tuple[int, ...]:
    """The axes that a tensor has beyond those of its type."""
    return (2,) if dtype == "Key" else ()


def static_shape(sizes: tuple[Size, ...], dtype: str) -> Any:
    """The shape as far as it is known before running."""
    known = [size if isinstance(size, int) else None for size in sizes]
    return tf.TensorShape([*known, *hidden_axes(dtype)])


def spec_of(type: Tensor, *, leading: int = 0) -> Any:
    """What a `tf.function` is told of a tensor; `leading` axes of any size stand before those of the type."""
    shape = static_shape(type.shape, type.dtype)
    return tf.TensorSpec([None] * leading + list(shape), TF_DTYPES[type.dtype])
