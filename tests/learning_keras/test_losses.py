"""Losses and metrics are Keras's, over probabilities and over scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.learning import build_federated_evaluation, from_compiled_keras_model, from_keras_model

from .cases import Batch, chain, layers, uneven

ROWS = 5


def ending_in(activation: str, units: int = 3) -> Any:
    return uneven(chain(layers().Input((4,)), layers().Dense(units, activation=activation)))


def labels(kind: str, shape: tuple[int, ...]) -> Any:
    generator = np.random.default_rng(2)
    if kind == "classes":
        return generator.integers(0, 3, shape)
    if kind == "one_hot":
        return np.eye(3, dtype="float32")[generator.integers(0, 3, shape[:1])]
    return generator.integers(0, 2, shape).astype("float32") if kind == "bits" else generator.random(shape, "float32")


def keras_object(name: str, **options: Any) -> Any:
    import keras

    return getattr(keras.losses, name)(**options)


CASES: dict[str, tuple[Any, str, int, str, tuple[int, ...]]] = {
    "sparse probabilities": ("sparse_categorical_crossentropy", "softmax", 3, "classes", (ROWS,)),
    "sparse labels in a column": ("sparse_categorical_crossentropy", "softmax", 3, "classes", (ROWS, 1)),
    "sparse scores": (("SparseCategoricalCrossentropy", {"from_logits": True}), "linear", 3, "classes", (ROWS,)),
    "sparse scores after relu": (
        ("SparseCategoricalCrossentropy", {"from_logits": True}),
        "relu",
        3,
        "classes",
        (ROWS,),
    ),
    "categorical probabilities": ("categorical_crossentropy", "softmax", 3, "one_hot", (ROWS, 3)),
    "categorical scores": (("CategoricalCrossentropy", {"from_logits": True}), "linear", 3, "one_hot", (ROWS, 3)),
    "binary probabilities": ("binary_crossentropy", "sigmoid", 1, "bits", (ROWS,)),
    "binary column": ("binary_crossentropy", "sigmoid", 1, "bits", (ROWS, 1)),
    "binary of several": ("binary_crossentropy", "sigmoid", 3, "bits", (ROWS, 3)),
    "binary scores": (("BinaryCrossentropy", {"from_logits": True}), "linear", 1, "bits", (ROWS, 1)),
    "squared error": ("mse", "linear", 1, "numbers", (ROWS,)),
    "squared error after sigmoid": (("MeanSquaredError", {}), "sigmoid", 3, "numbers", (ROWS, 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_loss_is_that_of_keras(case: str) -> None:
    loss, activation, units, kind, shape = CASES[case]
    given = loss if isinstance(loss, str) else keras_object(loss[0], **loss[1])
    keras_model, batch = ending_in(activation, units), (_x(), labels(kind, shape))
    keras_model.compile("sgd", given, run_eagerly=True)
    model = from_compiled_keras_model(keras_model, batch)
    found = model.package.loss(model.weights, {"x": batch[0], "y": batch[1]}, 0)
    assert found == pytest.approx(keras_model.evaluate(*batch, verbose=0), rel=1e-5)


def _x() -> Any:
    return np.random.default_rng(1).standard_normal((ROWS, 4)).astype("float32")


METRICS: dict[str, tuple[str, str, int, str, tuple[int, ...], list[str]]] = {
    "classes": ("sparse_categorical_crossentropy", "softmax", 3, "classes", (ROWS,), ["accuracy"]),
    "one hot": ("categorical_crossentropy", "softmax", 3, "one_hot", (ROWS, 3), ["categorical_accuracy", "mse"]),
    "bits": ("binary_crossentropy", "sigmoid", 1, "bits", (ROWS, 1), ["accuracy", "mean_absolute_error"]),
    "numbers": ("mean_squared_error", "linear", 1, "numbers", (ROWS, 1), ["mae"]),
}


@pytest.mark.parametrize("case", METRICS)
def test_metrics_are_those_of_keras(case: str) -> None:
    loss, activation, units, kind, shape, metrics = METRICS[case]
    keras_model, (x, y) = ending_in(activation, units), (_x(), labels(kind, shape))
    keras_model.compile("sgd", loss, metrics=metrics, run_eagerly=True)
    model = from_compiled_keras_model(keras_model, (x, y))
    two_clients = [[{"x": x[:2], "y": y[:2]}, {"x": x[2:3], "y": y[2:3]}], [{"x": x[3:], "y": y[3:]}]]
    found = build_federated_evaluation(model)(model.weights, two_clients)
    expected = [*keras_model.evaluate(x, y, verbose=0), ROWS]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-5)


def test_scores_far_from_zero_give_no_infinity() -> None:
    keras_model = ending_in("softmax")
    model = from_keras_model(keras_model, "sparse_categorical_crossentropy")
    far = {"x": 1e4 * _x(), "y": labels("classes", (ROWS,))}
    assert 100 < model.package.loss(model.weights, far, 0) < np.inf


def test_the_loss_of_a_model_without_activation_has_to_be_of_scores() -> None:
    with pytest.raises(fl.DiagnosticError, match=r"is of probabilities, but the model ends in relu[\s\S]*from_logits"):
        from_keras_model(ending_in("relu"), "sparse_categorical_crossentropy")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("poisson", r"poisson has no translation[\s\S]*binary_crossentropy"),
        (("CategoricalCrossentropy", {"label_smoothing": 0.1}), "label_smoothing = 0.1"),
        (("MeanSquaredError", {"reduction": "sum"}), "reduction = 'sum'"),
        (lambda y, p: y, "`<lambda>` of your own has no translation"),
        (None, r"has no loss[\s\S]*compile"),
    ],
)
def test_a_loss_that_is_not_translated(loss: Any, words: str) -> None:
    given = keras_object(loss[0], **loss[1]) if isinstance(loss, tuple) else loss
    with pytest.raises(fl.DiagnosticError, match=words):
        from_keras_model(ending_in("softmax"), given, translate=True)


def test_a_metric_that_is_not_translated() -> None:
    with pytest.raises(fl.DiagnosticError, match=r"the metric AUC has no translation[\s\S]*there is accuracy"):
        from_keras_model(ending_in("softmax"), "sparse_categorical_crossentropy", metrics=["AUC"], translate=True)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ((_x(), np.zeros((ROWS, 2))), r"labels of shape \[2\] an example"),
        ({"x": _x()}, "does not say what `x` and `y` are"),
    ],
)
def test_a_batch_that_does_not_fit(spec: Batch, words: str) -> None:
    with pytest.raises(fl.DiagnosticError, match=words):
        from_keras_model(ending_in("softmax"), "categorical_crossentropy", spec)


def two_outputs() -> Any:
    import keras

    inputs = keras.Input((4,))
    return keras.Model(inputs, [layers().Dense(3, name="a")(inputs), layers().Dense(1, name="b")(inputs)])


@pytest.mark.parametrize(
    ("loss_weights", "named"),
    [([1.0, 10.0], False), ((0.5, 2.0), False), ({"a": 3.0, "b": 0.25}, True)],
)
def test_losses_of_outputs_are_weighted_as_keras_does(loss_weights: Any, named: bool) -> None:
    import keras

    keras_model, x, y = two_outputs(), _x(), (labels("classes", (ROWS,)), labels("numbers", (ROWS, 1)))
    losses = [keras.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"]
    given, batch = (dict(zip("ab", losses, strict=True)), dict(zip("ab", y, strict=True))) if named else (losses, y)
    if named:
        keras_model = keras.Model(keras_model.input, dict(zip("ab", keras_model.outputs, strict=True)))
    keras_model.compile("sgd", given, loss_weights=loss_weights, run_eagerly=True)
    model = from_compiled_keras_model(keras_model, (x, batch))
    data = batch if named else {"part0": y[0], "part1": y[1]}
    found = model.package.loss(model.weights, {"x": x, "y": data}, 0)
    expected = keras_model.evaluate(x, batch if named else [*y], verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss_weights", [10.0, [10.0]])
@pytest.mark.parametrize("executor", ["reference", "batched"])
def test_a_single_loss_is_weighted_as_keras_does(loss_weights: Any, executor: str) -> None:
    keras_model, (x, y) = ending_in("softmax"), (_x(), labels("classes", (ROWS,)))
    keras_model.compile("sgd", "sparse_categorical_crossentropy", loss_weights=loss_weights, run_eagerly=True)
    model = from_compiled_keras_model(keras_model, (x, y))
    assert "loss_weights = 10.0" in model.reason
    data = [[{"x": x[:3], "y": y[:3]}, {"x": x[3:4], "y": y[3:4]}], [{"x": x[4:], "y": y[4:]}]]
    with fl.executor(executor):
        found = build_federated_evaluation(model)(model.weights, data).loss
    assert found == pytest.approx(keras_model.evaluate(x, y, verbose=0), rel=1e-5)


def test_weighted_metrics_are_not_forgotten() -> None:
    keras_model, (x, y) = ending_in("softmax"), (_x(), labels("one_hot", (ROWS, 3)))
    keras_model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["mse"])
    model = from_compiled_keras_model(keras_model, (x, y))
    found = build_federated_evaluation(model)(model.weights, [[{"x": x, "y": y}]])
    assert len(found.values()) == 4


@pytest.mark.parametrize("loss_weights", [[1.0, 2.0], {"a": 1.0, "b": 2.0}, "heavy"])
def test_weights_that_do_not_fit_the_losses(loss_weights: Any) -> None:
    with pytest.raises(fl.DiagnosticError, match="FED1030"):
        from_keras_model(ending_in("softmax"), "categorical_crossentropy", loss_weights=loss_weights)
