"""What one example is: the dtype and shape of `x` and of `y`, from a spec, a batch or the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlang.learning import errors
from fedlang.learning.wiring import Shape
from fedlang.types.dtypes import DTYPES

NARROW = {"int64": "int32", "uint32": "int32", "uint64": "int32", "float64": "float32"}
"""Dtypes of data that are read as another: values that do not fit are an error when a client is read."""


@dataclass(frozen=True)
class Part:
    """`x` or `y` of one example."""

    dtype: str
    shape: Shape

    def with_batch(self, size: str) -> str:
        """The type of a batch, its first axis so called."""
        return f"{self.dtype}[{', '.join([size, *map(str, self.shape)])}]"

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]" if self.shape else self.dtype


def float_type(shape: Sequence[Any]) -> str:
    """The type of floats of a shape, as text."""
    return f"float32[{', '.join(map(str, shape))}]" if len(shape) else "float32"


def parts_of(spec: Any) -> tuple[Any, Any]:
    """The two parts of a spec or of a batch: whatever has a shape and a dtype, or mappings and tuples of such."""
    if isinstance(spec, Mapping) and set(spec) == {"x", "y"}:
        return shaped(spec["x"]), shaped(spec["y"])
    if isinstance(spec, tuple | list) and len(spec) == 2:
        return shaped(spec[0]), shaped(spec[1])
    raise errors.unreadable_spec(f"a {type(spec).__name__}")


def shaped(part: Any) -> Any:
    """Something with a shape and a dtype; mappings and tuples of such stay what they are, lists of numbers do not."""
    if isinstance(part, Mapping):
        return {name: shaped(inner) for name, inner in part.items()}
    if isinstance(part, tuple | list) and any(hasattr(inner, "shape") for inner in part):
        return tuple(shaped(inner) for inner in part)
    return part if hasattr(part, "shape") and hasattr(part, "dtype") else np.asarray(part)


def dtype_of(part: Any) -> str:
    """The name of the dtype that examples have in the program."""
    name = str(getattr(part.dtype, "name", part.dtype))
    if name not in DTYPES:
        raise errors.spec_does_not_fit(f"has values of {name}", f"there is {', '.join(DTYPES[:-1])}")
    return NARROW.get(name, name)


def example_shape(model: Any, given: Any | None) -> Shape:
    """The shape of one `x`, without the axis of the batch: from the spec, where there is one, else from the model."""
    shape = (
        (None,) if given is None and not model.built else given.shape if given is not None else model.inputs[0].shape
    )
    sizes = tuple(shape)[1:]
    if len(tuple(shape)) < 2 or any(size is None for size in sizes):
        raise errors.unknown_size(model.name, tuple(shape))
    own = tuple(model.inputs[0].shape)[1:] if model.built and model.inputs else sizes
    if len(own) != len(sizes) or any(known not in (None, size) for known, size in zip(own, sizes, strict=False)):
        wanted = f"`{model.name}` takes {list(own)}"
        raise errors.spec_does_not_fit(f"has an `x` of shape {list(sizes)} an example", wanted)
    return tuple(int(size) for size in sizes)
