"""Rounds: the library's algorithms train Keras models on data of many clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.learning import (
    KerasModel,
    assign_weights,
    build_federated_averaging,
    build_federated_evaluation,
    from_keras_model,
)

from .cases import chain, image, layers, tokens

SPARSE = "sparse_categorical_crossentropy"


def cnn() -> KerasModel:
    inner = (
        layers().Conv2D(4, 3, padding="same", activation="relu"),
        layers().MaxPooling2D(2),
        layers().Flatten(),
        layers().Dropout(0.1),
        layers().Dense(3, activation="softmax"),
    )
    return from_keras_model(chain(image(1), *inner), SPARSE)


def images(clients: int = 3) -> list[list[dict[str, Any]]]:
    """Two batches a client; the class is the third of the image that is bright."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(clients):
        y = generator.integers(0, 3, (2, 8))
        x = 0.1 * generator.standard_normal((2, 8, 6, 6, 1)).astype("float32")
        for batch, row in np.ndindex(y.shape):
            x[batch, row, 2 * y[batch, row] : 2 * y[batch, row] + 2] += 1
        found.append([{"x": x[k], "y": y[k]} for k in range(2)])
    return found


@pytest.mark.parametrize("executor", ["reference", "threaded"])
def test_a_convolutional_network_learns(executor: str) -> None:
    model, data = cnn(), images()
    process = build_federated_averaging(model, client_rate=0.3)
    state = process.initialize(1)
    for _ in range(8):
        state = process.run_round(state, (data,), executor=executor).state
    before, after = (build_federated_evaluation(model)(w, data) for w in (model.weights, state.weights))
    assert after.loss < 0.7 * before.loss
    assert after.examples == 48
    assign_weights(model, state.weights)
    x = np.concatenate([batch["x"] for client in data for batch in client])
    y = np.concatenate([batch["y"] for client in data for batch in client])
    right = model.keras_model.predict(x, verbose=0).argmax(axis=-1) == y
    assert np.mean(right) == pytest.approx(after.accuracy)


def test_a_recurrent_network_learns() -> None:
    inner = (layers().LSTM(4, return_sequences=True), layers().Dense(7, activation="softmax"))
    model = from_keras_model(tokens(*inner), SPARSE)
    x = np.arange(20).reshape(4, 5) % 7
    data = [[{"x": x, "y": (x + 1) % 7}], [{"x": x[:2], "y": (x[:2] + 1) % 7}]]
    process = build_federated_averaging(model, client_rate=1.0)
    state = process.initialize()
    losses = []
    for _ in range(4):
        result = process.next(state, data)
        state = result.state
        losses.append(result.metrics.loss)
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(np.log(7), rel=0.02)


def linear() -> KerasModel:
    return from_keras_model(chain(layers().Input((2,)), layers().Dense(1)), "mse")


LINE = [[{"x": [[1.0, 0.0]], "y": [1.0]}], [{"x": [[0.0, 1.0]], "y": [2.0]}]]


@pytest.mark.parametrize(
    "aggregator", ["mean()", "clipping(fixed(10.0))", "zeroing(fixed(10.0), clipping(fixed(9.0)))"]
)
def test_one_step_of_fedprox_is_federated_averaging(aggregator: str) -> None:
    model = linear()
    plain, near = (
        build_federated_averaging(model, client_rate=0.1, algorithm=name, aggregator=aggregator)
        for name in ("fedavg", "fedprox")
    )
    first, second = (process.next(process.initialize(), LINE).state.weights for process in (plain, near))
    assert first == second


def test_scaffold_keeps_a_control_a_client() -> None:
    process = build_federated_averaging(linear(), client_rate=0.1, algorithm="scaffold", population=2)
    assert process.settings.population == 2
    state = process.next(process.initialize(), LINE).state
    assert len(state.own) == 2


def test_the_median_sees_all() -> None:
    process = build_federated_averaging(linear(), aggregator="median()")
    assert process.next(process.initialize(), [*LINE, LINE[0]]).metrics.examples == 3


def test_the_rate_of_the_server_scales_the_step() -> None:
    model = linear()
    steps = []
    for rate in (1.0, 0.5):
        process = build_federated_averaging(model, client_rate=0.1, server_rate=rate)
        state = process.next(process.initialize(), LINE).state
        name = next(iter(model.weights))
        steps.append(state.weights[name].kernel - model.weights[name].kernel)
    np.testing.assert_allclose(steps[0], 2 * steps[1], rtol=1e-5)


def test_a_layer_that_keras_does_not_train_stays() -> None:
    frozen = layers().Dense(3, name="frozen", trainable=False)
    model = from_keras_model(chain(layers().Input((2,)), frozen, layers().Dense(1, name="free")), "mse")
    process = build_federated_averaging(model, client_rate=0.1, algorithm="fedprox")
    after = process.next(process.initialize(), [[*LINE[0], *LINE[1]]]).state.weights
    assert after.frozen == model.weights.frozen
    assert after.free != model.weights.free


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"algorithm": "fedsgd"}, r"no algorithm is called `fedsgd`[\s\S]*fedavg, fedprox, scaffold"),
        ({"algorithm": "scaffold"}, "how many clients there are"),
        ({"algorithm": "scaffold", "population": 2, "aggregator": "median()"}, "scaffold does not take `aggregator`"),
        ({"population": 2}, "fedavg does not take `population`"),
        ({"aggregator": "middle()"}, "unknown name `middle`"),
        ({"aggregator": "median("}, "is never closed"),
    ],
)
def test_what_an_algorithm_does_not_take(options: dict[str, Any], words: str) -> None:
    with pytest.raises(fl.DiagnosticError, match=words):
        build_federated_averaging(linear(), **options)
