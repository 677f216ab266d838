"""Metrics of models that are called: those of Keras, whatever class they are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.learning import (
    build_federated_averaging,
    build_federated_evaluation,
    from_compiled_keras_model,
    from_keras_model,
)

EXECUTORS = ("reference", "batched")
X = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
NUMBERS = np.random.default_rng(1).normal(size=(9, 1)).astype(np.float32)
BITS = (NUMBERS > 0).astype(np.float32)


def network(units: int = 1, activation: str | None = None) -> Any:
    import keras

    keras.utils.set_random_seed(4)
    return keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(units, activation=activation)])


def clients(y: Any) -> list[list[Any]]:
    return [[{"x": X[a:b], "y": y[a:b]} for a, b in parts] for parts in (((0, 4), (4, 6)), ((6, 9),))]


def measured(model: Any, y: Any) -> Any:
    return build_federated_evaluation(model)(model.weights, clients(y))


def judged(metric: Any, y: Any, loss: str = "mse", units: int = 1, activation: str | None = None) -> tuple[Any, Any]:
    """What the clients' examples give, and what Keras gives for all of them."""
    made = network(units, activation)
    found = measured(from_keras_model(made, loss, (X, y), metrics=[metric]), y)
    made.compile(loss=loss, metrics=[metric], run_eagerly=True)
    return found, made.evaluate(X, y, batch_size=2, verbose=0, return_dict=True)


def own_metric(update: Callable[[Any, Any, Any], None], result: Callable[[Any], Any]) -> Any:
    """A metric of a class of its own, with one variable `v`."""
    import keras

    class Own(keras.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="own")
            self.v = self.add_variable((), "zeros", name="v")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            update(self.v, y_true, y_pred)

        def result(self) -> Any:
            return result(self)

    return Own()


def hits(v: Any, y: Any, predicted: Any) -> None:
    import keras

    v.assign(v + keras.ops.sum(keras.ops.cast(keras.ops.equal(y, keras.ops.round(predicted)), "float32")))


def test_a_result_may_be_a_variable_itself() -> None:
    found, expected = judged(own_metric(hits, lambda own: own.v), BITS, activation="sigmoid")
    assert found.own == expected["own"] > 0


def test_a_result_of_several_numbers_is_a_record() -> None:
    metric = own_metric(hits, lambda own: {"twice as many": own.v * 2, "hits": own.v})
    found, expected = judged(metric, BITS, activation="sigmoid")
    assert found.own.hits == expected["hits"] > 0
    assert found.own.twice_as_many == expected["twice as many"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_metric_has_no_part_in_the_derivative(executor: str) -> None:
    """A distance of zero has none; nor has the correlation of a single number."""
    import keras

    def distance(y: Any, predicted: Any) -> Any:
        return keras.ops.sqrt(keras.ops.sum(keras.ops.square(y * 0 + predicted - predicted), -1))

    weights = []
    for metrics in ([], [distance, keras.metrics.PearsonCorrelation()]):
        model = from_keras_model(network(), "mse", (X, NUMBERS), metrics=metrics, translate=False)
        process = build_federated_averaging(model, client_rate=0.1)
        with fl.executor(executor):
            state = process.next(process.initialize(0), clients(NUMBERS)).state
        weights.append(list(model.weights_of(state.weights).values()))
    for pair in zip(*weights, strict=True):
        np.testing.assert_allclose(*pair, rtol=1e-6)


def _no_sums() -> dict[str, Callable[[Any, Any, Any], None]]:
    from keras import ops

    return {
        "maximum": lambda v, _, p: v.assign(ops.maximum(v, ops.max(p))),
        "minimum": lambda v, _, p: v.assign(ops.minimum(v, ops.min(p))),
        "last": lambda v, _, p: v.assign(ops.mean(p)),
        "running mean": lambda v, _, p: v.assign(0.9 * v + 0.1 * ops.mean(p)),
        "product": lambda v, _, p: v.assign(v + ops.mean(p) * (1 + v)),
        "cut": lambda v, _, p: v.assign(ops.maximum(v, 0.0) + ops.mean(p)),
    }


@pytest.mark.parametrize("name", ["maximum", "minimum", "last", "running mean", "product", "cut"])
def test_a_metric_that_is_no_sum_is_refused(name: str) -> None:
    metric = own_metric(_no_sums()[name], lambda own: own.v)
    with pytest.raises(fl.DiagnosticError, match=r"FED1019[\s\S]*`v`"):
        from_keras_model(network(), "mse", (X, NUMBERS), metrics=[metric])


def test_a_metric_that_takes_few_labels_only_may_be_a_sum() -> None:
    import tensorflow as tf

    def update(v: Any, y: Any, predicted: Any) -> None:
        tf.debugging.assert_less(y, 3)
        v.assign(v + tf.reduce_sum(tf.gather(predicted, y, batch_dims=1)))

    y = np.random.default_rng(2).integers(0, 3, 9).astype(np.int32)
    loss = "sparse_categorical_crossentropy"
    found, expected = judged(own_metric(update, lambda own: own.v), y, loss, 3, "softmax")
    assert found.own == pytest.approx(expected["own"], rel=1e-5)


def test_what_a_metric_says_of_every_batch_is_a_diagnostic() -> None:
    def update(v: Any, y: Any, predicted: Any) -> None:
        raise ValueError("labels of another kind")

    with pytest.raises(fl.DiagnosticError, match=r"FED1022[\s\S]*labels of another kind"):
        from_keras_model(network(), "mse", (X, NUMBERS), metrics=[own_metric(update, lambda own: own.v)])


def test_a_metric_that_was_used_begins_anew_and_keeps_its_value() -> None:
    import keras

    metric = keras.metrics.RootMeanSquaredError(name="distance")
    metric.update_state([[1.0]], [[4.0]])
    model = from_keras_model(network(), "mse", (X, NUMBERS), metrics=[metric])
    assert metric.result() == 3
    expected = np.sqrt(np.mean(np.square(NUMBERS - np.asarray(model.keras_model(X)))))
    assert measured(model, NUMBERS).distance == pytest.approx(expected, rel=1e-5)


KERAS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "r2": (lambda metrics: metrics.R2Score(name="m"), "numbers"),
    "root mean squared error": (lambda metrics: metrics.RootMeanSquaredError(name="m"), "numbers"),
    "correlation": (lambda metrics: metrics.PearsonCorrelation(name="m"), "pairs"),
    "area": (lambda metrics: metrics.AUC(name="m", curve="PR"), "bits"),
    "f1": (lambda metrics: metrics.F1Score(name="m", threshold=0.5, average="macro"), "bits"),
    "recall": (lambda metrics: metrics.PrecisionAtRecall(0.5, name="m"), "bits"),
    "overlap": (lambda metrics: metrics.MeanIoU(3, name="m", sparse_y_pred=False), "classes"),
    "top": (lambda metrics: metrics.SparseTopKCategoricalAccuracy(2, name="m"), "classes"),
    "hinge": (lambda metrics: metrics.CategoricalHinge(name="m"), "one hot"),
    "one hot overlap": (lambda metrics: metrics.OneHotMeanIoU(3, name="m"), "one hot"),
}
LABELS: dict[str, tuple[Any, str, int, str | None]] = {
    "numbers": (NUMBERS, "mse", 1, None),
    "pairs": (np.concatenate([NUMBERS, BITS], axis=1), "mse", 2, None),
    "bits": (BITS, "binary_crossentropy", 1, "sigmoid"),
    "classes": (np.arange(9, dtype=np.int32) % 3, "sparse_categorical_crossentropy", 3, "softmax"),
    "one hot": (np.eye(3, dtype=np.float32)[np.arange(9) % 3], "categorical_crossentropy", 3, "softmax"),
}


@pytest.mark.parametrize("name", KERAS)
def test_metrics_of_keras_are_sums(name: str) -> None:
    import keras

    made, kind = KERAS[name]
    y, *rest = LABELS[kind]
    found, expected = judged(made(keras.metrics), y, *rest)
    assert found.m == pytest.approx(expected["m"], rel=1e-4)


@pytest.mark.parametrize("translate", [True, False])
def test_results_are_called_as_keras_calls_them(translate: bool) -> None:
    import keras

    y, loss = LABELS["classes"][:2]
    made = network(3, "softmax")
    metrics = ["acc", "accuracy", keras.metrics.SparseCategoricalAccuracy(name="top 1"), "sparse_categorical_accuracy"]
    model = from_keras_model(made, loss, (X, y), metrics=metrics, translate=translate)
    names = ["loss", "acc", "accuracy", "top_1", "sparse_categorical_accuracy", "examples"]
    assert list(measured(model, y)) == names
    made.compile("sgd", loss, metrics=metrics, run_eagerly=True)
    assert list(measured(from_compiled_keras_model(made, (X, y), translate=translate), y)) == names
    found = made.evaluate(X, y, verbose=0, return_dict=True)
    assert {name.replace(" ", "_") for name in found} == set(names) - {"examples"}


def test_names_do_not_depend_on_what_was_made_before() -> None:
    import keras

    metrics = ["AUC", keras.metrics.AUC, keras.metrics.Precision(name="auc"), "mae"]
    y, *rest = LABELS["bits"]
    for _ in range(2):
        model = from_keras_model(network(*rest[1:]), rest[0], (X, y), metrics=metrics)
        assert list(measured(model, y)) == ["loss", "AUC", "auc", "auc_1", "mae", "examples"]


@pytest.mark.parametrize("translate", [True, False])
@pytest.mark.parametrize("name", ["loss", "examples", "num_examples"])
def test_a_name_that_is_taken_is_refused(name: str, translate: bool) -> None:
    import keras

    metric = keras.metrics.MeanAbsoluteError(name=name)
    with pytest.raises(fl.DiagnosticError, match="FED1031"):
        from_keras_model(network(), "mse", (X, NUMBERS), metrics=[metric], translate=translate)


@pytest.mark.parametrize("wrap", [lambda each: [each], lambda each: [[each]], lambda each: {"d": [each]}])
def test_own_metrics_of_compile_are_taken_in_every_form(wrap: Callable[[Any], Any]) -> None:
    import keras

    def mine(y: Any, predicted: Any) -> Any:
        return keras.ops.mean(predicted, -1)

    for metric in (own_metric(hits, lambda own: own.v), mine):
        made = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(1, name="d")])
        made.compile("sgd", "mse", metrics=wrap(metric), run_eagerly=True)
        expected = made.evaluate(X, BITS, verbose=0, return_dict=True)
        found = measured(from_compiled_keras_model(made, (X, BITS)), BITS)
        name = "own" if metric is not mine else "mine"
        assert found[name] == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_masked_steps_count_for_no_metric(executor: str) -> None:
    import keras

    keras.utils.set_random_seed(4)
    layers = keras.layers
    inner = [layers.Embedding(7, 3, mask_zero=True), layers.LSTM(4, return_sequences=True), layers.Dense(3, "softmax")]
    made = keras.Sequential([layers.Input((6,), dtype="int32"), *inner])
    x = np.random.default_rng(0).integers(1, 7, (6, 6)).astype(np.int32)
    x[np.arange(6)[None] >= np.arange(1, 7)[:, None]] = 0
    y = np.random.default_rng(1).integers(0, 3, (6, 6)).astype(np.int32)
    top = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
    made.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", top])
    model = from_compiled_keras_model(made, (x, y))
    assert model.calls
    with fl.executor(executor):
        found = build_federated_evaluation(model)(
            model.weights, [[{"x": x[:2], "y": y[:2]}], [{"x": x[2:], "y": y[2:]}]]
        )
    expected = made.evaluate(x, y, verbose=0, return_dict=True)
    assert found.accuracy == pytest.approx(expected["accuracy"])
    assert found.top2 == pytest.approx(expected["top2"])
