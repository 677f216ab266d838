"""What a file's features are said to be: a dtype and the shape of one example's value, by the feature's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlang.data.errors import wrong_feature
from fedlang.run.sequences import Array


@dataclass(frozen=True)
class Feature:
    """`dtype` is the name of a NumPy dtype, or "string"."""

    dtype: str
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.dtype + (str(list(self.shape)) if self.shape else "")


def features_of(spec: Mapping[str, Any] | None) -> dict[str, Feature] | None:
    """The features of `{"pixels": ("float32", (28, 28)), "label": "int32"}`, of `tf.TensorSpec`s, or of `Feature`s."""
    if spec is None:
        return None
    return {name: _feature(what) for name, what in sorted(spec.items())}


def _feature(what: Any) -> Feature:
    if isinstance(what, Feature):
        return what
    if hasattr(what, "dtype") and hasattr(what, "shape") and not isinstance(what, np.dtype):
        return Feature(_dtype(what.dtype), tuple(int(size) for size in what.shape))
    dtype, shape = what if isinstance(what, tuple) else (what, ())
    return Feature(_dtype(dtype), tuple(shape))


def _dtype(dtype: Any) -> str:
    plain = np.dtype(getattr(dtype, "as_numpy_dtype", dtype) if dtype != "string" else object)
    return "string" if plain.kind in "OSU" else plain.name


def feature_of(array: Array) -> Feature:
    """What a client's stacked values are."""
    return Feature("string" if array.dtype.kind in "OSU" else array.dtype.name, array.shape[1:])


def verify_feature(client: str, name: str, array: Array, needed: Feature) -> None:
    """Stacked values are of the feature's dtype and shape. `DiagnosticError` FED0717 if they are not."""
    found = feature_of(array)
    if found != needed:
        raise wrong_feature(client, name, str(found), str(needed))
