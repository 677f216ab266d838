"""Losses of Keras for models that are called: any that `keras.losses` takes, or a function of labels and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from numbers import Real
from typing import Any

from fedlang.learning import errors

Objective = Callable[[Any, Any], Any]
PaddedObjective = Callable[[Any, Any, Any], Any]
Factors = float | Mapping[Any, float] | None  # of one loss, or of several by name or number; None where all are 1

BY_EXAMPLE = frozenset(
    {
        *("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error"),
        *("mean_squared_logarithmic_error", "cosine_similarity", "huber", "log_cosh", "kl_divergence", "poisson"),
        *("binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy"),
        *("categorical_focal_crossentropy", "sparse_categorical_crossentropy", "categorical_hinge"),
    }
)
"""Functions of Keras that give each example a loss of its own. A hinge looks at all labels for their kind."""


def factors_of(loss: Any, weights: Any) -> Factors:
    """What `loss_weights` of `compile` multiply: in the form of the losses. Raises `DiagnosticError` for another."""
    if weights is None:
        return None
    if _has_several(loss):
        keys = list(loss) if isinstance(loss, Mapping) else list(range(len(loss)))
        if isinstance(loss, Mapping) is isinstance(weights, Mapping) and not isinstance(weights, Real):
            given = dict(weights) if isinstance(weights, Mapping) else dict(enumerate(weights))
            if set(given) == set(keys) and all(isinstance(each, Real) for each in given.values()):
                return {key: float(given[key]) for key in keys}
    else:
        several = list(weights.values()) if isinstance(weights, Mapping) else weights
        one = several[0] if isinstance(several, list | tuple) and len(several) == 1 else weights
        if isinstance(one, Real):
            return None if one == 1 else float(one)
    raise errors.loss_weights_do_not_fit(weights)


def objective_of(loss: Any, factors: Factors = None) -> Objective:
    """The mean loss over a batch, a number.

    Of a model with several outputs, `loss` is a mapping or a sequence like the outputs, and the losses are summed.
    """
    import tensorflow as tf

    if _has_several(loss):
        keys = list(loss) if isinstance(loss, Mapping) else list(range(len(loss)))
        each = {key: objective_of(loss[key], factors[key] if isinstance(factors, Mapping) else None) for key in keys}
        if isinstance(loss, Mapping):
            return lambda y, predicted: tf.add_n([one(y[key], predicted[key]) for key, one in each.items()])
        return lambda y, predicted: tf.add_n(
            [each[key](*pair) for key, pair in zip(keys, zip(y, predicted, strict=True), strict=True)]
        )
    function, factor = loss_object(loss), 1.0 if factors is None else factors
    return lambda y, predicted: factor * tf.reduce_mean(tf.cast(function(y, predicted), tf.float32))


def padded_objective_of(loss: Any, factors: Factors = None) -> PaddedObjective:
    """The same, of the examples that the third argument, bool [batch], says to be there; for losses by example."""
    import keras
    import tensorflow as tf

    function = copy(loss) if isinstance(loss, keras.losses.Loss) else loss_object(loss)
    total, function.reduction = function.reduction == "sum", "none"
    factor = 1.0 if factors is None else factors

    def objective(y: Any, predicted: Any, own: Any) -> Any:
        each = factor * tf.cast(function(y, predicted), tf.float32)
        kept = tf.where(tf.reshape(own, [-1, *[1] * (len(each.shape) - 1)]), each, 0.0)
        if total:
            return tf.reduce_sum(kept)
        count = tf.reduce_sum(tf.cast(own, tf.float32)) * tf.cast(tf.reduce_prod(tf.shape(each)[1:]), tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(kept), count)  # 0 of no examples, as in Keras

    return objective


def _has_several(loss: Any) -> bool:
    """Whether it is a loss for each output; a mapping may also be the configuration of one."""
    return isinstance(loss, tuple | list) or (isinstance(loss, Mapping) and not {"class_name", "config"} <= set(loss))


def mixing_loss(loss: Any) -> str:
    """Why a loss is no mean or sum of a loss for each example; "" where it is one."""
    if _has_several(loss):
        return "the model has several losses"
    found = loss_object(loss)
    function, given = getattr(found, "fn", None), found.get_config()
    name = getattr(function, "__name__", "")
    known = is_of_keras(function) and type(found).__module__.startswith(("keras.", "fedlang."))
    usual = given.get("axis", -1) == -1 and given.get("ignore_class") is None
    if known and usual and name in BY_EXAMPLE:
        return ""
    return f"what the loss `{name_of(loss)}` does with a batch is not known"


def is_of_keras(function: Any) -> bool:
    """Whether a function or class is one of Keras's own."""
    return str(getattr(function, "__module__", "")).startswith("keras.")


def loss_object(loss: Any) -> Any:
    """A `keras.losses.Loss`, which fits the ranks of labels and predictions to each other."""
    import keras

    found = keras.losses.get(loss)
    if isinstance(found, keras.losses.Loss):
        return found

    class OfFunction(keras.losses.Loss):  # type: ignore[misc]
        """A function as a loss."""

        fn = staticmethod(found)

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return found(_as_ranked(y_true, y_pred), y_pred)

    name = getattr(found, "__name__", "loss")
    return OfFunction(name=name if name.isidentifier() else "loss")


def _as_ranked(y: Any, predicted: Any) -> Any:
    """Labels with the axis of size 1 that predictions have, or without the one that they have not."""
    import tensorflow as tf

    if len(y.shape) + 1 == len(predicted.shape) and predicted.shape[-1] == 1:
        return tf.expand_dims(y, -1)
    if len(y.shape) == len(predicted.shape) + 1 and y.shape[-1] == 1:
        return tf.squeeze(y, -1)
    return y


def name_of(loss: Any) -> str:
    """The name that says which accuracy goes with a loss."""
    if isinstance(loss, str):
        return loss.lower()
    return str(getattr(loss, "__name__", type(loss).__name__)).lower()
