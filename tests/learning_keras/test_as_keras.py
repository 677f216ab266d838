"""What is easily lost of a Keras model when it becomes a program: training goes as by hand, or it is said that not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.executors.batched import BatchedExecutor
from fedlang.learning import (
    KerasModel,
    assign_weights,
    build_federated_averaging,
    build_federated_evaluation,
    from_compiled_keras_model,
    from_keras_model,
)
from fedlang.learning.translation import variables_of
from fedlang.learning.wiring import INPUT, Step
from fedlang.run.registry import get_executor

from .cases import chain, layers, time, tokens

RATE = 0.1


def keras() -> Any:
    import keras

    return keras


def sparse() -> Any:
    return keras().losses.SparseCategoricalCrossentropy(from_logits=True)


def batches_for(model: Any, classes: int = 3, sizes: tuple[int, ...] = (4, 4, 3)) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    shape = tuple(model.inputs[0].shape)[1:] if getattr(model, "inputs", None) else (4,)
    made = []
    for n in sizes:
        x = rng.normal(size=(n, *shape)).astype(np.float32)
        made.append({"x": x, "y": rng.integers(0, classes, n).astype(np.int32)})
    return made


def by_hand(model: Any, loss: Any, batches: list[dict[str, Any]]) -> list[np.ndarray]:
    """The variables after gradient descent over the batches, as Keras code computes it. The model keeps its own."""
    import tensorflow as tf

    before = [v.numpy() for v in model.variables]
    for batch in batches:
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(batch["y"], model(batch["x"], training=True)))
            value = tf.add_n([value, *model.losses])
        for variable, slope in zip(
            model.trainable_variables, tape.gradient(value, [v.value for v in model.trainable_variables]), strict=True
        ):
            variable.assign(variable - RATE * tf.convert_to_tensor(slope))
    found = [v.numpy() for v in model.variables]
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    return found


def trained(model: KerasModel, batches: list[dict[str, Any]], executor: str = "reference") -> Any:
    process = build_federated_averaging(model, client_rate=RATE)
    return process.run_round(process.initialize(0), ([batches],), executor=get_executor(executor)).state.weights


def assert_trains_as_by_hand(network: Any, loss: Any, batches: list[dict[str, Any]], **options: Any) -> KerasModel:
    expected = by_hand(network, loss, batches)
    model = from_keras_model(network, loss, **options)
    first = model.weights
    for executor in ("reference", "batched"):
        assign_weights(model, trained(model, batches, executor))
        found = [v.numpy() for v in network.variables]
        assign_weights(model, first)
        for variable, own, wanted in zip(network.variables, found, expected, strict=True):
            np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-5, err_msg=variable.path)
    return model


def shared_by_two_paths() -> Any:
    """A layer inside a nested model and outside of it."""
    shared, start = layers().Dense(4, activation="tanh"), layers().Input((4,))
    inner = chain(layers().Input((4,)), shared)
    return keras().Model(start, layers().Dense(3)(shared(inner(start))))


CASES: dict[str, tuple[Callable[[], Any], bool]] = {
    "LSTM, penalty": (lambda: time(layers().LSTM(3, kernel_regularizer=keras().regularizers.L2(0.5))), True),
    "GRU, penalty": (lambda: time(layers().GRU(3, recurrent_regularizer="l1")), True),
    "RNN, penalty": (lambda: time(layers().SimpleRNN(3, bias_regularizer="l2", bias_initializer="ones")), True),
    "shared by two paths": (shared_by_two_paths, False),
    "channels first": (
        lambda: chain(layers().Input((2, 3, 4)), layers().Flatten(data_format="channels_first"), layers().Dense(3)),
        True,
    ),
    "selu": (lambda: chain(layers().Input((4,)), layers().Dense(5, activation="selu"), layers().Dense(3)), False),
}


@pytest.mark.parametrize("name", CASES)
def test_models_train_as_by_hand(name: str) -> None:
    make, calls = CASES[name]
    network = make()
    model = assert_trains_as_by_hand(network, sparse(), batches_for(network))
    assert model.calls == calls
    assert {*map(id, model.variables.values())} == {*map(id, network.trainable_variables)}


def test_selu_has_the_derivative_of_keras_at_zero() -> None:
    network = CASES["selu"][0]()
    batches = batches_for(network)
    batches[0]["x"][:] = 0.0
    assert_trains_as_by_hand(network, sparse(), batches)


def test_weights_that_layers_share_are_not_told_apart() -> None:
    layer = layers().Dense(3)
    layer.build((None, 4))
    other = SimpleNamespace(weights=layer.weights)
    steps = (Step(layer, ("first",), (INPUT,), ((4,),), (3,)), Step(other, ("second",), (INPUT,), ((4,),), (3,)))
    with pytest.raises(DiagnosticError, match="shared"):
        variables_of("model", steps)


def twins() -> Any:
    """A class of its own with two normalisations of one name."""

    class Twins(keras().Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = layers().BatchNormalization(name="norm", center=False, scale=False)
            self.second = layers().BatchNormalization(name="norm", center=False, scale=False)
            self.middle, self.last = layers().Dense(4, name="same"), layers().Dense(3, name="same")

        def call(self, x: Any, training: bool = False) -> Any:
            middle = self.middle(self.first(x, training=training))
            return self.last(self.second(middle, training=training))

    network = Twins()
    network(np.zeros((1, 4), np.float32))
    return network


def test_layers_of_one_name_have_fields_of_their_own() -> None:
    network = twins()
    batches = batches_for(network)
    spec = (batches[0]["x"], batches[0]["y"])
    model = assert_trains_as_by_hand(network, sparse(), batches, input_spec=spec)
    assert len(model.variables) == len(network.variables) == 8
    assert {path[0] for path in model.variables} == {"norm", "norm_1", "same", "same_1"}
    assert len(model.weights_of(model.weights)) == 8, "none is lost"


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mse"])
def test_the_accuracy_of_several_labels_is_that_of_keras(loss: str) -> None:
    network = chain(layers().Input((4,)), layers().Dense(3, activation="sigmoid"))
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 4)).astype(np.float32), rng.integers(0, 2, (40, 3)).astype(np.float32)
    network.compile(loss=loss, metrics=["accuracy"])
    expected = network.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]
    for translate in (True, False):
        model = from_keras_model(network, loss, metrics="accuracy", translate=translate)
        found = build_federated_evaluation(model)(model.weights, [[{"x": x, "y": y}]])
        np.testing.assert_allclose(found.accuracy, expected, rtol=1e-6)


def test_a_label_between_yes_and_no_is_neither() -> None:
    network = chain(layers().Input((4,)), layers().Dense(1, activation="sigmoid"))
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 4)).astype(np.float32), rng.choice([0.0, 0.7, 1.0], 40).astype(np.float32)
    network.compile(loss="binary_crossentropy", metrics=["accuracy"])
    model = from_keras_model(network, translate=True)
    found = build_federated_evaluation(model)(model.weights, [[{"x": x, "y": y}]])
    expected = network.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]
    np.testing.assert_allclose(found.accuracy, expected, rtol=1e-6)


def test_what_keras_does_between_steps_is_said_to_be_left_out() -> None:
    network = chain(layers().Input((4,)), layers().Dense(3, kernel_constraint="non_neg", name="held"))
    with pytest.warns(RuntimeWarning, match="the constraint of `.*held/kernel` is not kept to"):
        from_keras_model(network, "mse")
    network = chain(
        layers().Input(batch_shape=(2, 5, 4)), layers().GRU(3, stateful=True, name="long"), layers().Dense(1)
    )
    with pytest.warns(RuntimeWarning, match="`long` is stateful"):
        from_keras_model(network, "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_keras_model(time(layers().LSTM(3)), "mse", translate=False)


@pytest.mark.parametrize("strategy", ["vectorised", "blocks", "sequential"])
def test_a_batch_without_examples_changes_nothing_of_a_called_model(strategy: str) -> None:
    network = chain(layers().Input((4,)), layers().Dense(3, activation="softmax"))
    model = from_keras_model(network, "sparse_categorical_crossentropy", translate=False)
    batches = batches_for(network)
    empty = {name: value[:0] for name, value in batches[0].items()}
    process = build_federated_averaging(model, client_rate=RATE)
    executor = BatchedExecutor(strategy=strategy)
    for before, after in ((batches, []), (batches[:1], batches[1:])):
        given = [[*before, empty, *after], batches[:2]]
        found = process.run_round(process.initialize(0), (given,), executor=executor).state.weights
        wanted = process.run_round(process.initialize(0), ([batches, batches[:2]],), executor=executor).state.weights
        for path in model.variables:
            np.testing.assert_allclose(found[path[0]][path[1]], wanted[path[0]][path[1]], rtol=1e-6)


def two_outputs() -> Any:
    start = layers().Input((4,))
    inner = layers().Dense(5, activation="tanh")(start)
    return keras().Model(start, [layers().Dense(3, name="a")(inner), layers().Dense(1, name="b")(inner)])


def test_losses_may_have_the_names_of_outputs_that_are_a_list() -> None:
    network, losses = two_outputs(), {"a": sparse(), "b": "mse"}
    (batch,) = batches_for(network, sizes=(6,))
    y = {"a": batch["y"], "b": batch["x"][:, 0]}
    network.compile(loss=losses, loss_weights={"a": 1.0, "b": 0.5})
    named = from_compiled_keras_model(network, (batch["x"], y))
    found = trained(named, [{"x": batch["x"], "y": y}])
    listed = from_keras_model(network, [losses["a"], "mse"], (batch["x"], (y["a"], y["b"])), loss_weights=[1.0, 0.5])
    wanted = trained(listed, [{"x": batch["x"], "y": {"part0": y["a"], "part1": y["b"]}}])
    np.testing.assert_array_equal(found.a.kernel, wanted.a.kernel)
    np.testing.assert_array_equal(found.b.kernel, wanted.b.kernel)
    assert from_keras_model(network, losses).calls, "labels are as the outputs are"


def average_of_probabilities() -> Any:
    start = layers().Input((4,))
    parts = [layers().Dense(3, activation="softmax")(start) for _ in range(2)]
    return keras().Model(start, layers().Average()(parts))


def test_probabilities_of_any_kind_are_called() -> None:
    network = average_of_probabilities()
    model = assert_trains_as_by_hand(network, keras().losses.SparseCategoricalCrossentropy(), batches_for(network))
    assert model.calls
    with pytest.raises(DiagnosticError, match="FED1010"):
        from_keras_model(chain(layers().Input((4,)), layers().Dense(3)), "sparse_categorical_crossentropy")


def untraceable(y: Any, predicted: Any) -> Any:
    return np.mean(predicted)


WRONG: dict[str, tuple[str, Callable[[], object]]] = {
    "a loss in NumPy": (
        "FED1022",
        lambda: from_keras_model(chain(layers().Input((4,)), layers().Dense(3)), untraceable),
    ),
    "an output without a loss": ("FED1022", lambda: from_keras_model(two_outputs(), [sparse(), None])),
    "no layers": ("FED1022", lambda: from_keras_model(chain(), "mse", (np.zeros((2, 4)), np.zeros((2, 3))))),
    "a wider input": (
        "FED1034",
        lambda: from_keras_model(
            chain(layers().Input((4,)), layers().Dense(3)), "mse", (np.zeros((2, 5)), np.zeros((2, 3)))
        ),
    ),
    "words": (
        "FED1034",
        lambda: from_keras_model(
            chain(layers().Input((4,)), layers().Dense(3)), "mse", (np.full((2, 4), "a"), np.zeros((2, 3)))
        ),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said_when_a_model_is_taken_in(name: str) -> None:
    code, make = WRONG[name]
    with pytest.raises(DiagnosticError) as error:
        make()
    assert error.value.diagnostics[0].code == code


def test_weights_of_words_are_refused_and_none_is_set() -> None:
    network = chain(layers().Input((4,)), layers().Dense(3, name="last"))
    model, before = from_keras_model(network, "mse"), network.get_weights()
    with pytest.raises(DiagnosticError, match="no array of numbers"):
        assign_weights(model, {"last": {"kernel": np.ones((4, 3)), "bias": "words"}})
    for own, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, kept)


def test_a_table_of_tokens_keeps_its_spec() -> None:
    model = from_keras_model(tokens(layers().Flatten(), layers().Dense(3)), sparse())
    assert "x: int32[5]" in model.source
