"""Metrics of models that are called: those of Keras, whatever class they are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedlang.learning import build_federated_averaging, build_federated_evaluation, from_keras_model

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

    import fedlang as fl

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
