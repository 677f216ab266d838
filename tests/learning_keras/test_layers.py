"""Every kind of layer gives Keras's numbers: forward, and through one step of gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.learning import KerasModel, build_federated_averaging, from_keras_model
from fedlang.learning.layers import LAYERS
from fedlang.run.registry import get_executor

from .cases import CASES, Batch, batch_for, uneven

EXECUTORS = ("reference", "threaded")
RATE = 0.5


def test_every_row_of_the_table_has_a_case() -> None:
    assert {name.split()[0] for name in CASES} >= set(LAYERS)


@pytest.mark.parametrize("case", CASES)
def test_layer_agrees_with_keras(case: str) -> None:
    keras_model = uneven(CASES[case]())
    model = from_keras_model(keras_model, scores_loss())
    x, y = batch_for(keras_model)
    process = build_federated_averaging(model, client_rate=RATE)
    before, expected = model.weights, keras_model(x).numpy()
    trained = keras_step(keras_model, model, (x, y))
    for name in EXECUTORS:
        with fl.executor(name):
            np.testing.assert_allclose(model.package.predict(before, x), expected, rtol=1e-5, atol=1e-5)
            result = process.next(process.initialize(), [[{"x": x, "y": y}]])
        for path, value in model.weights_of(result.state.weights).items():
            np.testing.assert_allclose(value, trained[path], rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("strategy", ["vectorised", "blocks", "sequential"])
@pytest.mark.parametrize(
    "case",
    ["residual", "residual with groups", "BatchNormalization of images", "GRU sequence", "Conv1D same", "Concatenate"],
)
def test_clients_of_several_sizes_agree_with_the_reference(case: str, strategy: str) -> None:
    """What is behind a short batch, or behind the last one, counts for no statistic and no derivative."""
    keras_model = uneven(CASES[case]())
    model = from_keras_model(keras_model, scores_loss(), translate=True)
    x, y = batch_for(keras_model, 8)
    clients = [[8, 5], [3], [], [1, 8, 2], [4]]
    data = [[{"x": x[:n], "y": y[:n]} for n in client] for client in clients]
    process = build_federated_averaging(model, client_rate=RATE)
    found = []
    for executor in ("reference", get_executor("batched", strategy=strategy)):
        state = process.run_round(process.initialize(), (data,), executor=executor).state
        found.append(model.weights_of(state.weights))
    for path, value in found[0].items():
        np.testing.assert_allclose(found[1][path], value, rtol=1e-5, atol=1e-6, err_msg=path)


def scores_loss() -> Any:
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def keras_step(keras_model: Any, model: KerasModel, batch: Batch) -> dict[str, Any]:
    """The weights after Keras has trained on one batch."""
    import keras

    keras_model.compile(keras.optimizers.SGD(RATE), scores_loss(), run_eagerly=True)
    keras_model.train_on_batch(*batch)
    return model.weights_of(model.weights)
