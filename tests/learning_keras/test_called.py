"""Keras models that are called: they train as Keras trains them, and as their translations do, on every executor."""

from __future__ import annotations

import gc
import re
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.diagnostics import DiagnosticError
from fedlang.learning import (
    build_federated_averaging,
    build_federated_evaluation,
    from_compiled_keras_model,
    from_keras_model,
)
from fedlang.run.externs import is_registered

EXECUTORS = ("reference", "threaded", "batched")
RATE = 0.1


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    return keras


def batches(sizes: list[list[int]], shape: tuple[int, ...], classes: int = 3, seed: int = 0) -> list[list[Any]]:
    rng = np.random.default_rng(seed)
    return [
        [
            {"x": rng.normal(size=(n, *shape)).astype(np.float32), "y": rng.integers(0, classes, n).astype(np.int32)}
            for n in client
        ]
        for client in sizes
    ]


def branching(keras: Any, activation: str = "celu") -> Any:
    """Two branches, a batch normalisation, and an activation that no translation has."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    left = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(8, activation="relu")(inputs))
    right = keras.layers.Dense(8, activation=activation)(inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Concatenate()([left, right])), name="branching")


def logits_loss(keras: Any) -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trained_by_keras(keras: Any, model: Any, clients: list[list[Any]], loss: Any) -> dict[str, Any]:
    """One round of federated averaging with the model's own variables, one client after the other."""
    import tensorflow as tf

    start = [variable.numpy() for variable in model.variables]
    total, examples = [np.zeros_like(each, np.float64) for each in start], 0
    for client in clients:
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        for batch in client:
            with tf.GradientTape() as tape:
                value = loss(batch["y"], model(batch["x"], training=True))
            slopes = tape.gradient(value, [variable.value for variable in model.trainable_variables])
            for variable, slope in zip(model.trainable_variables, slopes, strict=True):
                variable.assign(variable.value - RATE * slope)
        weight = sum(len(batch["y"]) for batch in client)
        examples += weight
        for sum_, variable, value in zip(total, model.variables, start, strict=True):
            sum_ += weight * (variable.numpy() - value)
    found = {
        variable.path: value + sum_ / examples
        for variable, value, sum_ in zip(model.variables, start, total, strict=True)
    }
    for variable, value in zip(model.variables, start, strict=True):
        variable.assign(value)
    return found


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("activation", ["celu", "gelu"], ids=["called", "translated"])
def test_a_round_is_that_of_keras_with_statistics_averaged(keras: Any, executor: str, activation: str) -> None:
    network, clients = branching(keras, activation), batches([[4, 4, 2], [4], [], [1]], (6,))
    expected = trained_by_keras(keras, network, clients, logits_loss(keras))
    before = [variable.numpy() for variable in network.variables]
    model = from_keras_model(network, logits_loss(keras))
    assert model.calls == (activation == "celu")
    assert ("activation = 'celu'" in model.reason) == model.calls
    with fl.executor(executor):
        process = build_federated_averaging(model, client_rate=RATE)
        state = process.next(process.initialize(0), clients).state
    for path, value in model.weights_of(state.weights).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-5, err_msg=path)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, "a call changes no variable of the model")


def test_statistics_may_be_kept(keras: Any) -> None:
    model = from_keras_model(branching(keras), logits_loss(keras))
    process = build_federated_averaging(model, client_rate=RATE, statistics="kept")
    state = process.next(process.initialize(0), batches([[4, 4]], (6,))).state
    assert not np.any(state.weights.norm.moving_mean)
    assert np.any(state.weights.norm.beta)


@pytest.mark.parametrize("algorithm", ["fedprox", "scaffold"])
def test_every_algorithm_trains_what_is_called(keras: Any, algorithm: Any) -> None:
    model = from_keras_model(branching(keras), logits_loss(keras))
    population = 3 if algorithm == "scaffold" else None
    process = build_federated_averaging(model, client_rate=RATE, algorithm=algorithm, population=population)
    state, losses = process.initialize(0), []
    for _ in range(4):
        result = process.next(state, batches([[4, 4], [4], [3]], (6,)))
        state = result.state
        losses.append(float(result.metrics.loss))
    assert losses == sorted(losses, reverse=True)
    assert np.any(state.weights.norm.moving_mean)


def chains(keras: Any) -> dict[str, tuple[Any, tuple[int, ...]]]:
    layers = keras.layers
    dense = [layers.Input((6,)), layers.Dense(8, activation="tanh"), layers.LayerNormalization(), layers.Dense(3)]
    images = [
        layers.Input((6, 6, 1)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3),
    ]
    sequences = [layers.Input((5, 2)), layers.LSTM(4), layers.Dense(3)]
    return {
        "dense": (keras.Sequential(dense, name="dense"), (6,)),
        "images": (keras.Sequential(images, name="images"), (6, 6, 1)),
        "sequences": (keras.Sequential(sequences, name="sequences"), (5, 2)),
    }


@pytest.mark.parametrize("name", ["dense", "images", "sequences"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_called_and_translated_agree(keras: Any, name: str, executor: str) -> None:
    keras.utils.set_random_seed(2)
    network, shape = chains(keras)[name]
    clients = batches([[4, 4, 1], [3]], shape)
    found = []
    for translate in (True, False):
        model = from_keras_model(network, logits_loss(keras), translate=translate)
        assert model.calls is not translate
        with fl.executor(executor):
            process = build_federated_averaging(model, client_rate=RATE)
            result = process.next(process.initialize(0), clients)
            measured = build_federated_evaluation(model)(result.state.weights, clients)
        found.append((model.weights_of(result.state.weights), result.metrics.loss, measured))
    (weights, loss, measured), (weights2, loss2, measured2) = found
    for path, value in weights.items():
        np.testing.assert_allclose(value, weights2[path], rtol=1e-4, atol=1e-5, err_msg=path)
    np.testing.assert_allclose([loss, *measured.values()], [loss2, *measured2.values()], rtol=1e-4)


def test_dropout_draws_anew_at_every_step_and_client_and_repeats_with_the_seed(keras: Any) -> None:
    network = keras.Sequential(
        [keras.layers.Input((64,)), keras.layers.Dropout(0.5), keras.layers.Dense(2, name="dense")]
    )
    model = from_keras_model(network, logits_loss(keras), translate=False)
    one = {"x": np.ones((1, 64), np.float32), "y": np.zeros(1, np.int32)}

    def kernels(seed: int, data: list[list[Any]]) -> Any:
        process = build_federated_averaging(model, client_rate=RATE)
        start = process.initialize(seed)
        return process.next(start, data).state.weights.dense.kernel - start.weights.dense.kernel

    keras.utils.set_random_seed(0)
    masks = kernels(0, [[one]])[:, 0] != 0
    assert 10 < masks.sum() < 54, "one step sees about half of the inputs"
    both = kernels(0, [[one], [one]])[:, 0] != 0
    assert both.sum() > masks.sum(), "the other client draws another mask"
    steps = kernels(0, [[one, one]])[:, 0] != 0
    assert steps.sum() > masks.sum(), "the next step draws another mask"
    np.testing.assert_array_equal(masks, kernels(0, [[one]])[:, 0] != 0)
    assert np.any(masks != (kernels(1, [[one]])[:, 0] != 0))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_subclass_with_several_inputs_and_an_own_loss(keras: Any, executor: str) -> None:
    class Towers(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="towers")
            self.left, self.right = keras.layers.Dense(4), keras.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            return keras.ops.sum(self.left(inputs["user id"]) * self.right(inputs["item"]), axis=-1)

    def distance(y: Any, predicted: Any) -> Any:
        return keras.ops.square(y - predicted)

    rng = np.random.default_rng(3)

    def batch(n: int) -> Any:
        x = {"user_id": rng.normal(size=(n, 3)).astype(np.float32), "item": rng.normal(size=(n, 2)).astype(np.float32)}
        return {"x": x, "y": rng.normal(size=n).astype(np.float32)}

    sample = batch(2)
    spec = {"user id": sample["x"]["user_id"], "item": sample["x"]["item"]}, sample["y"]
    model = from_keras_model(Towers(), distance, spec, metrics=["mean_absolute_error"])
    data = [[batch(4), batch(3)], [batch(2)]]
    with fl.executor(executor):
        process = build_federated_averaging(model, client_rate=RATE)
        state = process.initialize(0)
        first = build_federated_evaluation(model)(state.weights, data)
        for _ in range(5):
            state = process.next(state, data).state
        last = build_federated_evaluation(model)(state.weights, data)
    assert last.loss < first.loss
    assert last.mean_absolute_error < first.mean_absolute_error
    assert last.examples == 9
    model.assign_weights(state.weights)
    predicted = model.keras_model({"user id": spec[0]["user id"], "item": spec[0]["item"]})
    mine = model.package.predict(state.weights, {"user_id": spec[0]["user id"], "item": spec[0]["item"]})
    np.testing.assert_allclose(mine, predicted, rtol=1e-5)


def test_metrics_are_of_all_examples_and_not_means_of_clients(keras: Any) -> None:
    network = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model = from_keras_model(network, "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="auc")])
    assert model.calls
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)).astype(np.float32), rng.integers(0, 2, 40).astype(np.float32)
    clients = [[{"x": x[a:b], "y": y[a:b]}] for a, b in ((0, 4), (4, 20), (20, 40))]
    measured = build_federated_evaluation(model)(model.weights, clients)
    predicted = network(x)
    auc = keras.metrics.AUC()
    auc.update_state(y[:, None], predicted)
    np.testing.assert_allclose(measured.auc, auc.result(), rtol=1e-5)
    right = np.mean((np.asarray(predicted)[:, 0] > 0.5) == (y > 0.5))
    np.testing.assert_allclose(measured.accuracy, right, rtol=1e-6)
    loss = keras.losses.BinaryCrossentropy()(y[:, None], predicted)
    np.testing.assert_allclose(measured.loss, loss, rtol=1e-5)


def test_a_frozen_layer_keeps_its_weights_and_penalties_count(keras: Any) -> None:
    frozen = keras.layers.Dense(4, activation="elu", trainable=False, name="frozen")
    last = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5), name="last")
    network = keras.Sequential([keras.layers.Input((6,)), frozen, last])
    model = from_keras_model(network, logits_loss(keras))
    data = batches([[4]], (6,))
    process = build_federated_averaging(model, client_rate=RATE)
    result = process.next(process.initialize(0), data)
    np.testing.assert_array_equal(result.state.weights.frozen.kernel, model.weights.frozen.kernel)
    x, y = data[0][0]["x"], data[0][0]["y"]
    expected = logits_loss(keras)(y, network(x)) + 0.5 * np.sum(np.square(last.kernel.numpy()))
    np.testing.assert_allclose(result.metrics.loss, expected, rtol=1e-5)


def test_a_compiled_model_is_called_with_its_loss_and_metrics(keras: Any) -> None:
    network = branching(keras)
    network.compile(loss=logits_loss(keras), metrics=["accuracy"])
    model = from_compiled_keras_model(network, (np.zeros((2, 6), np.float32), np.zeros((2, 1), np.int32)))
    data = batches([[4]], (6,))
    data[0][0]["y"] = data[0][0]["y"][:, None]
    assert set(build_federated_evaluation(model)(model.weights, data)) == {"loss", "accuracy", "examples"}


def code_of(error: pytest.ExceptionInfo[DiagnosticError]) -> str:
    return error.value.diagnostics[0].code


def test_what_is_wrong_with_a_called_model_is_said(keras: Any) -> None:
    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs * 2.0

    with pytest.raises(DiagnosticError) as error:
        from_keras_model(Own(), "mse")
    assert code_of(error) == "FED1021"
    with pytest.raises(DiagnosticError) as error:
        from_keras_model(Own(), "mse", (np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)))
    assert code_of(error) == "FED1007"
    with pytest.raises(DiagnosticError) as error:
        from_keras_model(
            branching(keras), "mse", (np.zeros((1, 5), np.float32), np.zeros(1, np.float32)), translate=False
        )
    assert code_of(error) == "FED1022"
    with pytest.raises(DiagnosticError) as error:
        from_keras_model(branching(keras), logits_loss(keras), translate=True)
    assert code_of(error) == "FED1005"

    class Least(keras.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="least")
            self.value = self.add_variable((), "ones", name="value")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.value.assign(keras.ops.minimum(self.value, keras.ops.min(y_pred)))

        def result(self) -> Any:
            return self.value

    with pytest.raises(DiagnosticError) as error:
        from_keras_model(branching(keras), logits_loss(keras), metrics=[Least()])
    assert code_of(error) == "FED1019"
    with pytest.raises(DiagnosticError) as error:
        build_federated_averaging(from_keras_model(branching(keras), logits_loss(keras)), statistics="lost")  # type: ignore[arg-type]
    assert code_of(error) == "FED1023"


def test_functions_stay_as_long_as_their_programs(keras: Any) -> None:
    model = from_keras_model(branching(keras), logits_loss(keras))
    (step,) = re.findall(r"extern fn (\w+_step)", model.source)
    process = build_federated_averaging(model, client_rate=RATE)
    del model
    gc.collect()
    state = process.initialize(0)
    assert process.next(state, batches([[4]], (6,))).state != state
    assert is_registered(step)
    del process
    gc.collect()
    assert not is_registered(step)
