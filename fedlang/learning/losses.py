"""The tables of losses and of the metrics that go with each: expressions for the mean over a batch.

In expressions `{scores}` is what the model gives without the loss's own activation, `{predicted}` what Keras's
`predict` gives, `{y}` the labels. A cross entropy of probabilities is one of the scores before the activation: the
same number, without overflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedlang.learning import errors
from fedlang.learning.names import metric_fields
from fedlang.learning.specs import Part
from fedlang.learning.wiring import Shape


@dataclass(frozen=True)
class Loss:
    """A row: the loss of each example, the activation that it takes over, the dtype of labels, its metrics."""

    name: str
    value: str
    activation: str
    labels: str
    metrics: Mapping[str, str]
    accuracies: tuple[str, ...]


SEVERAL = "cast[float32](arg_max({scores}, axis = -1) == arg_max({y}, axis = -1))"
"""What Keras takes "accuracy" for, whatever the loss, where labels are as many as scores, and more than one."""

SQUARED = "square({predicted} - {y})"
DISTANCES = {"mean_squared_error": SQUARED, "mean_absolute_error": "abs({predicted} - {y})"}
ALIASES = {"acc": "accuracy", "mse": "mean_squared_error", "mae": "mean_absolute_error"}

LOSSES: Sequence[Loss] = (
    Loss(
        "sparse_categorical_crossentropy",
        "sparse_softmax_cross_entropy({scores}, {y})",
        "softmax",
        "int32",
        {"accuracy": "cast[float32](arg_max({scores}, axis = -1) == {y})"},
        ("sparse_categorical_accuracy",),
    ),
    Loss(
        "categorical_crossentropy",
        "-reduce_sum({y} * log_softmax({scores}), axis = -1)",
        "softmax",
        "float32",
        {"accuracy": SEVERAL, **DISTANCES},
        ("categorical_accuracy",),
    ),
    Loss(
        "binary_crossentropy",
        "softplus({scores}) - {y} * {scores}",
        "sigmoid",
        "float32",
        {"accuracy": "cast[float32](cast[float32]({scores} > 0.0) == {y})", **DISTANCES},
        ("binary_accuracy",),
    ),
    Loss("mean_squared_error", SQUARED, "", "float32", DISTANCES, ()),
)
KNOWN_LOSSES = tuple(loss.name for loss in LOSSES)
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


@dataclass(frozen=True)
class Found:
    """A loss and whether it takes scores as they come from the model."""

    loss: Loss
    from_logits: bool


def find_loss(given: Any) -> Found:
    """The row of a string, a function or an object of Keras. Raises `DiagnosticError` for any other."""
    name, options = _described(given)
    rows = {_plain(loss.name): loss for loss in LOSSES} | {"mse": LOSSES[-1]}
    if _plain(name) not in rows:
        raise errors.unknown_loss(name, KNOWN_LOSSES)
    for option, plain in (("label_smoothing", 0.0), ("ignore_class", None), ("axis", -1)):
        if options.get(option, plain) != plain:
            raise errors.unknown_loss(f"{name} with {option} = {options[option]!r}", KNOWN_LOSSES)
    if options.get("reduction", REDUCTIONS[0]) not in REDUCTIONS:
        raise errors.unknown_loss(f"{name} with reduction = {options['reduction']!r}", KNOWN_LOSSES)
    return Found(rows[_plain(name)], bool(options.get("from_logits", False)))


def find_metrics(given: Sequence[Any], loss: Loss, output: Shape) -> dict[str, str]:
    """Field and expression of each metric of a model with outputs of this shape; without any, the accuracy where there
    is one."""
    named = given or ["accuracy"] * ("accuracy" in loss.metrics)
    values = [
        SEVERAL
        if loss.labels == "float32" and output[-1:] not in ((), (1,)) and str(each) in ("accuracy", "acc")
        else loss.metrics[_metric_name(each, loss)]
        for each in named
    ]
    return dict(zip(metric_fields(named), values, strict=True))


def _metric_name(given: Any, loss: Loss) -> str:
    name, options = _described(given)
    rows = {_plain(each): each for each in loss.metrics}
    rows |= {alias: each for alias, each in ALIASES.items() if each in loss.metrics}
    rows |= {_plain(each): "accuracy" for each in loss.accuracies}
    if _plain(name) not in rows or options.get("threshold", 0.5) != 0.5:
        raise errors.unknown_metric(name, loss.name, tuple(loss.metrics))
    return rows[_plain(name)]


def _described(given: Any) -> tuple[str, Mapping[str, Any]]:
    """The name of a loss or metric and its options, from any form Keras takes it in."""
    if isinstance(given, str):
        return given, {}
    if isinstance(given, Mapping):
        return str(given.get("class_name")), given.get("config", {})
    if hasattr(given, "get_config") and type(given).__module__.startswith("keras."):
        return type(given).__name__, given.get_config()
    if callable(given) and str(getattr(given, "__module__", "")).startswith("keras."):
        return str(getattr(given, "__name__", given)), {}
    return f"`{getattr(given, '__name__', type(given).__name__)}` of your own", {}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


# ---- labels ----


def default_labels(loss: Loss, output: Shape) -> Part:
    """The labels of one example where no spec says it: one class index an output, a number where the output is one."""
    squeezed = output[:-1] if loss.labels == "int32" or output[-1:] == (1,) else output
    return Part(loss.labels, squeezed)


def labels_text(loss: Loss, labels: Shape, output: Shape) -> str:
    """The labels of a batch in the shape that the loss takes."""
    short, unit = output[:-1], (*output[:-1], 1)
    if loss.labels == "int32":
        readings = {unit: f"batch.y[{', '.join([':'] * (len(short) + 1))}, 0]", short: "batch.y"}
    else:
        readings = {output: "batch.y"} | ({short: "expand(batch.y, axis = -1)"} if output == unit else {})
    if labels not in readings:
        raise errors.labels_do_not_fit(loss.name, labels, tuple(readings))
    return readings[labels]
