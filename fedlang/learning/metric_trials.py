"""Whether a metric's variables are sums over batches: tried on batches of random numbers, since code cannot be asked.

From zero, two batches after one another must leave what each of them leaves added up. A running mean, a maximum or the
last value does not. Predictions and labels are of several kinds, because a metric may take some only (a curve wants
probabilities, a confusion matrix classes); a kind that it refuses tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.learning import errors
from fedlang.learning.objectives import is_of_keras
from fedlang.learning.specs import Part

SIZES = (3, 5)
Batch = tuple[Any, Any]


def make_variables(metric: Any, y: Part, output: Any) -> None:
    """Lets a metric make the variables that wait for a first batch; those that it has keep their values."""
    values = [(variable, variable.numpy()) for variable in metric.variables]
    labels, predicted = np.zeros((1, *y.shape), y.dtype), np.zeros((1, *_sizes(y, output)), output.dtype.as_numpy_dtype)
    if values:
        with suppress(Exception):  # zeros may be no labels; it has variables, which may be all
            metric.update_state(labels, predicted)
    else:
        metric.update_state(labels, predicted)
    metric.reset_state()
    for variable, value in values:
        variable.assign(value)


def verify_is_sum(metric: Any, y: Part, output: Any) -> None:
    """Every variable begins at zero and adds up. Raises `DiagnosticError`, or what the metric raises for all batches.

    Of a metric of Keras one kind of batch is enough, and none where it takes none of them.
    """
    for variable, value in zip(metric.variables, metric.stateless_reset_state(), strict=True):
        if np.any(np.asarray(value)):
            raise errors.metric_is_no_sum(metric.name, variable.name, "does not begin at zero")
    failed, tried, known = None, False, is_of_keras(type(metric))
    for first, second in _trials(y, output):
        try:
            apart = [_after(metric, _zeros(metric), each) for each in (first, second)]
            together = _after(metric, apart[0], second)
        except Exception as error:  # whatever the metric says of batches that it does not take
            failed = error
            continue
        tried = True
        for variable, found, *parts in zip(metric.variables, together, *apart, strict=True):
            if not np.allclose(found, np.sum(parts, axis=0), rtol=1e-4, atol=1e-5, equal_nan=True):
                reason = "is not, after two batches, what each of them adds to zero together"
                raise errors.metric_is_no_sum(metric.name, variable.name, reason)
        if known:
            return
    if failed is not None and not tried and not known:
        raise failed


def _zeros(metric: Any) -> list[Any]:
    import tensorflow as tf

    return [tf.zeros(variable.shape, variable.dtype) for variable in metric.variables]


def _after(metric: Any, state: Sequence[Any], batch: Batch) -> list[NDArray[Any]]:
    """The variables after one more batch."""
    import tensorflow as tf

    given = [tf.constant(each) for each in state]
    return [np.asarray(each) for each in metric.stateless_update_state(given, *map(tf.constant, batch))]


def _trials(y: Part, output: Any) -> Iterator[tuple[Batch, Batch]]:
    """Two batches each time."""
    rng = np.random.default_rng(0)
    shape, dtype = _sizes(y, output), output.dtype.as_numpy_dtype
    for labels, predictions in product(_labels(rng, y, shape), _predictions(rng, shape)):
        first, second = ((labels(n), predictions(n).astype(dtype)) for n in SIZES)
        yield first, second


def _predictions(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    return (
        lambda n: rng.random((n, *shape)),
        lambda n: -rng.random((n, *shape)) if n == SIZES[0] else rng.random((n, *shape)),
        lambda n: 2 * rng.normal(size=(n, *shape)),
    )


def _labels(rng: np.random.Generator, y: Part, shape: tuple[int, ...]) -> list[Any]:
    """Classes, zeros and ones, and, where labels have fractions, one of the last axis, and any number."""
    classes = shape[-1] if shape and shape[-1] > 1 else 2
    kinds = [
        lambda n: rng.integers(0, classes, (n, *y.shape)).astype(y.dtype),
        lambda n: rng.integers(0, 2, (n, *y.shape)).astype(y.dtype),
    ]
    if y.dtype.startswith("float"):
        if y.shape and y.shape[-1] == classes:
            kinds.insert(0, lambda n: np.eye(classes, dtype=y.dtype)[rng.integers(0, classes, (n, *y.shape[:-1]))])
        kinds.append(lambda n: rng.normal(size=(n, *y.shape)).astype(y.dtype))
    return kinds


def _sizes(y: Part, output: Any) -> tuple[int, ...]:
    """The shape of one prediction; an axis of unknown size has that of the label's, or one."""
    sizes = tuple(output.shape[1:])
    known = y.shape if len(y.shape) == len(sizes) else (1,) * len(sizes)
    return tuple(int(instead if size is None else size) for size, instead in zip(sizes, known, strict=True))
