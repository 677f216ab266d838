"""Metrics of Keras for models that are called: sums at the clients, finished at the server.

A metric's variables after one batch, from zero, are what the batch adds; the sums over all batches of all clients are
its variables after all of them, and `result` is taken of those, once. So an AUC is that of all examples, not a mean
of clients' AUCs. Metrics whose variables are no sums are refused (`metric_trials.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedlang.learning import errors
from fedlang.learning.metric_trials import make_variables, verify_is_sum
from fedlang.learning.names import distinct, field_name, metric_fields, verify_no_clash
from fedlang.learning.objectives import is_of_keras, name_of
from fedlang.learning.specs import Part, float_type


@dataclass(frozen=True)
class SummedMetric:
    """A metric, the field that holds it, and its variables in the order of their fields."""

    name: str
    metric: Any = field(repr=False)
    fields: Mapping[str, tuple[int, ...]]
    order: tuple[int, ...]  # the places of the fields' variables in the metric
    weighted: int = 0  # how many axes the weights of examples have; 0 where it takes none
    parts: tuple[str, ...] = ()  # the names of a result of several numbers; () where it is one

    @property
    def type(self) -> Mapping[str, str]:
        """The type of its sums, for `print_record`."""
        return {name: float_type(shape) for name, shape in self.fields.items()}

    @property
    def result_type(self) -> str | Mapping[str, str]:
        """The type of its result, for `print_record`."""
        return {field_name(part): "float32" for part in self.parts} if self.parts else "float32"

    def sums(self, y: Any, predicted: Any, own: Any = None) -> list[Any]:
        """What a batch adds, a leaf a field: of the examples that `own`, bool [batch], says to be there, or all."""
        import tensorflow as tf

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.metric.variables]
        counts = tf.int32 if "int" in str(getattr(self.metric, "dtype", "")) else tf.float32
        given = {} if own is None else {"sample_weight": _spread(own, tf.shape(y)[: self.weighted], counts)}
        after = self.metric.stateless_update_state(zeros, y, predicted, **given)
        return [tf.cast(after[place], tf.float32) for place in self.order]

    def results(self, sums: Sequence[Any]) -> list[Any]:
        """The metric's result for these sums: a number, or one for each part in the order of their fields."""
        import tensorflow as tf

        variables = self.metric.variables
        given = dict(zip(self.order, sums, strict=True))
        found = _result(self.metric, [tf.cast(given[k], variables[k].dtype) for k in range(len(variables))])
        return [found[part] for part in sorted(self.parts, key=field_name)] if self.parts else [found]


def _result(metric: Any, state: Sequence[Any]) -> Any:
    """The result for variables of these values. Read inside the scope: a result may be one of the variables."""
    import keras
    import tensorflow as tf

    def number(value: Any) -> Any:
        return tf.reduce_mean(tf.cast(keras.ops.convert_to_tensor(value), tf.float32))

    with keras.StatelessScope(state_mapping=list(zip(metric.variables, state, strict=True))):
        found = metric.result()
        return {str(k): number(v) for k, v in found.items()} if isinstance(found, Mapping) else number(found)


def _spread(own: Any, shape: Any, dtype: Any) -> Any:
    """Weights of that shape: one for what belongs to an example that is there, else zero."""
    import tensorflow as tf

    ones = tf.ones(shape, dtype)
    return tf.reshape(tf.cast(own, dtype), [-1, *[1] * (len(ones.shape) - 1)]) * ones


def mixing_metric(metrics: Sequence[SummedMetric]) -> str:
    """Which metric cannot leave examples out, and why; "" where all can."""
    for each in metrics:
        if not each.weighted:
            return f"what the metric `{each.name}` does with a batch is not known"
    return ""


def metrics_of(given: Sequence[Any] | None, loss: Any, y: Any, output: Any) -> tuple[SummedMetric, ...]:
    """The metrics by name or object; without any, the accuracy where the loss is a cross entropy of one output."""
    single = isinstance(y, Part) and hasattr(output, "shape")
    if not given:
        given = ["accuracy"] if single and "crossentropy" in name_of(loss).replace("_", "") else []
    if given and not single:
        raise errors.metrics_of_several([str(getattr(each, "name", each)) for each in given])
    names = metric_fields(given)
    return tuple(_summed(name, each, y, output) for name, each in zip(names, given, strict=True))


def _summed(name: str, given: Any, y: Part, output: Any) -> SummedMetric:
    import keras

    metric = keras.metrics.get(_accuracy(y, output) if given in ("accuracy", "acc") else given)
    if not isinstance(metric, keras.metrics.Metric):
        metric = keras.metrics.MeanMetricWrapper(metric, name=name)
    make_variables(metric, y, output)
    verify_is_sum(metric, y, output)
    names = distinct([field_name(variable.name) for variable in metric.variables])
    order = tuple(sorted(range(len(names)), key=names.__getitem__))
    fields = {names[k]: tuple(int(n) for n in metric.variables[k].shape) for k in order}
    found = SummedMetric(name, metric, fields, order)
    return replace(found, weighted=_weighted(found, y, output), parts=_parts(metric))


def _parts(metric: Any) -> tuple[str, ...]:
    """The names in a result that is a mapping; () for a number."""
    found = _result(metric, [variable.value for variable in metric.variables])
    parts = tuple(found) if isinstance(found, Mapping) else ()
    verify_no_clash((part,) for part in parts)
    return parts


def _weighted(found: SummedMetric, y: Part, output: Any) -> int:
    """How many axes a metric's weights have, so that examples of weight zero count for nothing: tried, for metrics of
    Keras with one function or none."""
    import tensorflow as tf

    if not is_of_keras(type(found.metric)) or not is_of_keras(getattr(found.metric, "_fn", type(found.metric))):
        return 0
    rng = np.random.default_rng(0)
    predicted = tf.constant(rng.random((5, *output.shape[1:])), output.dtype)
    labels = tf.constant(rng.integers(0, 2, (5, *y.shape)), y.dtype)
    expected = found.sums(labels[:3], predicted[:3])
    for axes in range(1, len(y.shape) + 2):
        with suppress(ValueError, TypeError, tf.errors.InvalidArgumentError):
            given = replace(found, weighted=axes).sums(labels, predicted, tf.range(5) < 3)
            if all(np.allclose(*pair, rtol=1e-5, atol=1e-6) for pair in zip(given, expected, strict=True)):
                return axes
    return 0


def _accuracy(y: Part, output: Any) -> str:
    """Which accuracy it is, from the shapes of labels and predictions, as Keras decides it."""
    last = output.shape[-1]
    if last == 1 or len(output.shape) == 1:
        return "binary_accuracy"
    shape = (None, *y.shape)
    sparse = len(shape) < len(output.shape) or (shape[-1] == 1 and last > 1)
    return "sparse_categorical_accuracy" if sparse else "categorical_accuracy"
