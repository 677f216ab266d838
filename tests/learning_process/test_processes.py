"""Federated averaging and SGD as the image classification tutorial has them, against loops of TensorFlow's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fedlang as fl
from fedlang.diagnostics import DiagnosticError

from .tutorial import (
    MnistModel,
    MnistTrainableModel,
    broken,
    create_compiled_keras_model,
    dataset,
    model_fn,
)

EXECUTORS = ("reference", "threaded", "batched")
MODELS = {"keras": model_fn, "class": MnistTrainableModel}
NAMES = {
    "keras": ("sparse_categorical_accuracy", "dense_kernel", "dense_bias"),
    "class": ("accuracy", "weights", "bias"),
}
RATE = 0.02


def clients(epochs: int = 2) -> list[Any]:
    return [dataset(45, 1, epochs=epochs), dataset(20, 2, epochs=epochs), dataset(1, 3, epochs=epochs)]


def averaged(weights: Any, bias: Any, data: list[Any]) -> tuple[Any, Any, dict[str, float]]:
    """A round as the tutorial describes it: metrics from the forward pass before each step, summed over all of them."""
    changes, sums = [], np.zeros(3)
    for client in data:
        w, b = tf.Variable(weights), tf.Variable(bias)
        seen = 0
        for batch in client:
            labels = tf.reshape(batch["y"], [-1])
            with tf.GradientTape() as tape:
                scores = batch["x"] @ w + b
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
                loss = tf.reduce_mean(losses)
            right = tf.argmax(scores, 1, tf.int32) == labels
            sums += [float(tf.reduce_sum(losses)), float(np.sum(right)), len(labels)]
            seen += len(labels)
            by_w, by_b = tape.gradient(loss, [w, b])
            w.assign_sub(RATE * by_w)
            b.assign_sub(RATE * by_b)
        changes.append((seen, w.numpy() - weights, b.numpy() - bias))
    total = sum(n for n, _, _ in changes)
    weights = weights + sum(n * dw for n, dw, _ in changes) / total
    bias = bias + sum(n * db for n, _, db in changes) / total
    return weights, bias, {"loss": sums[0] / sums[2], "accuracy": sums[1] / sums[2], "num_examples": sums[2]}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", MODELS)
def test_averaging_is_the_loop_of_the_tutorial(kind: str, executor: str) -> None:
    accuracy, kernel, bias = NAMES[kind]
    process = fl.learning.build_federated_averaging_process(MODELS[kind])
    w, b = np.zeros((784, 10), np.float32), np.zeros(10, np.float32)
    losses = []
    with fl.executor(executor):
        state = process.initialize()
        for _ in range(3):
            state, metrics = process.next(state, clients())
            w, b, expected = averaged(w, b, clients())
            np.testing.assert_allclose(state.model.trainable[kernel], w, atol=1e-5)
            np.testing.assert_allclose(state.model.trainable[bias], b, atol=1e-5)
            np.testing.assert_allclose(metrics.loss, expected["loss"], rtol=1e-5)
            np.testing.assert_allclose(metrics[accuracy], expected["accuracy"], rtol=1e-5)
            assert metrics.num_examples == expected["num_examples"] == 132.0
            assert metrics.clients_left_out == 0
            losses.append(float(metrics.loss))
    assert losses == sorted(losses, reverse=True)
    assert state.optimizer_state.iterations == 3


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", MODELS)
def test_clients_that_cannot_count_change_nothing(kind: str, executor: str) -> None:
    process = fl.learning.build_federated_averaging_process(MODELS[kind])
    with fl.executor(executor):
        start = process.initialize()
        state, metrics = process.next(start, clients())
        again, counted = process.next(start, [dataset(20, 9).take(0), *clients(), broken()])
    assert again == state
    assert counted.clients_left_out == 2
    assert {**counted, "clients_left_out": 0} == dict(metrics)
    assert all(np.all(np.isfinite(each)) for each in state.model.trainable.values())


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("make", [model_fn, MnistModel], ids=["keras", "class"])
def test_sgd_is_one_step_along_the_mean_gradient(make: Any, executor: str) -> None:
    kernel = "dense_kernel" if make is model_fn else "weights"
    process = fl.learning.build_federated_sgd_process(make)
    with fl.executor(executor):
        state, metrics = process.next(process.initialize(), clients(1))
    rows = [row for client in clients(1) for row in client.unbatch()]
    x, y = np.stack([row["x"] for row in rows]), np.stack([row["y"] for row in rows])[:, 0]
    slope = x.T @ (np.full((len(x), 10), 0.1) - np.eye(10)[y]) / len(x)
    np.testing.assert_allclose(state.model.trainable[kernel], -0.1 * slope, atol=1e-6)
    assert metrics.num_examples == 66.0
    np.testing.assert_allclose(metrics.loss, np.log(10), rtol=1e-6)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("make", [model_fn, MnistModel], ids=["keras", "class"])
def test_evaluation_takes_the_state_s_model(make: Any, executor: str) -> None:
    process = fl.learning.build_federated_averaging_process(model_fn if make is model_fn else MnistTrainableModel)
    evaluation = fl.learning.build_federated_evaluation(make)
    with fl.executor(executor):
        state, _ = process.next(process.initialize(), clients())
        found = evaluation(state.model, [*clients(1), dataset(3, 5).take(0)])
    kernel, bias = state.model.trainable.values()
    loss, right, examples = 0.0, 0, 0
    for batch in (batch for client in clients(1) for batch in client):
        scores, labels = batch["x"] @ kernel + bias, tf.reshape(batch["y"], [-1])
        loss += float(tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)))
        right += int(np.sum(tf.argmax(scores, 1, tf.int32) == labels))
        examples += len(labels)
    accuracy = found[0]
    np.testing.assert_allclose([accuracy, found.loss, found.num_examples], [right / 66, loss / 66, 66], rtol=1e-5)


def test_types_print_as_tensorflow_federated_printed_them() -> None:
    process = fl.learning.build_federated_averaging_process(model_fn)
    assert process.initialize.type_signature.to_tff() == (
        "( -> <model=<trainable=<dense/kernel=float32[784,10],dense/bias=float32[10]>,non_trainable=<>>,"
        "optimizer_state=<int64>,delta_aggregate_state=<>,model_broadcast_state=<>>@SERVER)"
    )
    evaluation = fl.learning.build_federated_evaluation(MnistModel)
    assert evaluation.type_signature.to_tff() == (
        "(<<trainable=<weights=float32[784,10],bias=float32[10]>,non_trainable=<>>@SERVER,"
        "{<x=float32[?,784],y=int32[?,1]>*}@CLIENTS> -> "
        "<accuracy=float32@SERVER,loss=float32@SERVER,num_examples=float32@SERVER>)"
    )
    assert str(evaluation.type_signature).startswith("({trainable: {weights: float32[784, 10]")


def test_metrics_print_as_tensorflow_federated_printed_them() -> None:
    process = fl.learning.build_federated_averaging_process(MnistTrainableModel)
    _, metrics = process.next(process.initialize(), clients())
    found = evaluation_of(process)
    assert found.to_tff() == (
        f"<accuracy={float(found.accuracy)},loss={float(found.loss)},num_examples={float(found.num_examples)}>"
    )
    assert metrics.to_tff().endswith(",num_examples=132.0,clients_left_out=0>")


def evaluation_of(process: Any) -> Any:
    evaluation = fl.learning.build_federated_evaluation(MnistModel)
    return evaluation(process.initialize().model, clients(1))


@pytest.mark.parametrize(
    ("optimizer", "slots"), [("SGD", None), ("momentum", "dense_kernel"), ("Adam", "mean")], ids=str
)
def test_server_optimizers_are_those_of_keras(optimizer: str, slots: str | None) -> None:
    def make() -> Any:
        if optimizer == "momentum":
            return tf.keras.optimizers.SGD(0.5, momentum=0.9)
        return getattr(tf.keras.optimizers, optimizer)(0.5)

    process = fl.learning.build_federated_averaging_process(model_fn, server_optimizer_fn=make)
    plain = fl.learning.build_federated_averaging_process(model_fn)
    state, theirs, w = process.initialize(), make(), tf.Variable(np.zeros((784, 10), np.float32))
    for _ in range(2):
        here = plain.initialize()
        here = fl.learning.state_with_new_model_weights(here, list(state.model.trainable.values()))
        change = plain.next(here, clients())[0].model.trainable.dense_kernel - state.model.trainable.dense_kernel
        theirs.apply_gradients([(tf.constant(-change), w)])
        state, _ = process.next(state, clients())
        np.testing.assert_allclose(state.model.trainable.dense_kernel, w.numpy(), atol=2e-5)
    assert state.optimizer_state.iterations == 2
    if slots:
        assert slots in state.optimizer_state.slots


def test_client_weights_may_be_a_function_of_the_report() -> None:
    def weights(report: Any) -> Any:
        return tf.where(report["num_examples"] > 30.0, 1.0, 0.0)

    process = fl.learning.build_federated_averaging_process(MnistTrainableModel, client_weight_fn=weights)
    state, _ = process.next(process.initialize(), clients(1))
    w, _, _ = averaged(np.zeros((784, 10), np.float32), np.zeros(10, np.float32), clients(1)[:1])
    np.testing.assert_allclose(state.model.trainable.weights, w, atol=1e-5)


def test_weights_go_into_keras_models_and_states() -> None:
    process = fl.learning.build_federated_averaging_process(model_fn)
    state, _ = process.next(process.initialize(), clients())
    network = create_compiled_keras_model()
    fl.learning.assign_weights_to_keras_model(network, state.model)
    np.testing.assert_array_equal(network.get_weights()[0], state.model.trainable.dense_kernel)
    fresh = fl.learning.state_with_new_model_weights(process.initialize(), network.get_weights())
    assert fresh.model == state.model
    assert fresh.optimizer_state.iterations == 0
    with pytest.raises(DiagnosticError) as caught:
        fl.learning.state_with_new_model_weights(state, network.get_weights()[:1])
    assert caught.value.diagnostics[0].code == "FED1015"
    other = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2, name="dense")])
    before = other.get_weights()
    with pytest.raises(DiagnosticError) as caught:
        fl.learning.assign_weights_to_keras_model(other, state.model)
    assert caught.value.diagnostics[0].code == "FED1015"
    np.testing.assert_array_equal(other.get_weights()[0], before[0])


def test_a_called_keras_model_trains_with_its_own_optimizer() -> None:
    def make() -> Any:
        tf.keras.utils.set_random_seed(4)
        inputs = tf.keras.Input((784,))
        hidden = tf.keras.layers.BatchNormalization()(tf.keras.layers.Dense(8, activation="gelu")(inputs))
        outputs = tf.keras.layers.Dense(10)(tf.keras.layers.Dropout(0.1)(hidden))
        network = tf.keras.Model(inputs, outputs)
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(loss=loss, optimizer="adam", metrics=["accuracy"])
        return fl.learning.from_compiled_keras_model(network, next(iter(dataset(4, 0))))

    process = fl.learning.build_federated_averaging_process(make)
    state, losses = process.initialize(), []
    for _ in range(3):
        state, metrics = process.next(state, clients())
        losses.append(float(metrics.loss))
    assert losses == sorted(losses, reverse=True)
    assert set(metrics) == {"accuracy", "loss", "num_examples", "clients_left_out"}
    assert len(state.model.non_trainable) == 2


def code_of(make: Any) -> str:
    with pytest.raises(DiagnosticError) as caught:
        make()
    return caught.value.diagnostics[0].code


def test_what_is_no_model_is_said() -> None:
    build = fl.learning.build_federated_averaging_process
    assert code_of(lambda: build(lambda: 3)) == "FED1024"
    assert code_of(lambda: build(MnistModel)) == "FED1025"
    assert code_of(lambda: build(model_fn, server_optimizer_fn=tf.keras.optimizers.Ftrl)) == "FED1027"

    class Nameless(MnistTrainableModel):
        def report_local_outputs(self) -> Any:
            return [self._variables.loss_sum]

    class Unplaced(MnistTrainableModel):
        @property
        def federated_output_computation(self) -> Any:
            return lambda metrics: metrics

    class Shapeless(MnistTrainableModel):
        @property
        def input_spec(self) -> Any:
            return {"x": 3}

    assert code_of(lambda: build(Nameless)) == "FED1026"
    assert code_of(lambda: build(Shapeless)) == "FED1028"
    assert code_of(lambda: build(Unplaced)) == "FED1029"
