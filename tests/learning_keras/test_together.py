"""Keras models that are called for all clients at once: they train as those that are called one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.executors.batched import BatchedExecutor
from fedlang.learning import build_federated_averaging, build_federated_evaluation, from_keras_model
from fedlang.learning.metrics import metrics_of
from fedlang.learning.objectives import mixing_loss
from fedlang.learning.rowwise import mixing
from fedlang.learning.specs import Part

SIZES = [[4, 4, 2], [4], [], [1], [2, 3], [4, 1]] * 3
RATE = 0.1


def layers() -> Any:
    import keras

    return keras.layers


def chain(shape: tuple[int, ...], *inner: Any) -> Any:
    import keras

    return keras.Sequential([layers().Input(shape), *inner])


def attention() -> Any:
    import keras

    start = keras.Input((5, 4))
    mixed = layers().MultiHeadAttention(2, 3)(start, start)
    return keras.Model(start, layers().Dense(3)(layers().Flatten()(layers().Add()([start, mixed]))))


def frozen() -> Any:
    model = chain((6,), layers().Dense(4), layers().BatchNormalization(), layers().Dense(3))
    model.layers[1].trainable = False
    return model


def scores() -> Any:
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def probabilities() -> Any:
    import keras

    return ["accuracy", keras.metrics.AUC(num_thresholds=11, name="auc"), keras.metrics.Precision(name="precision")]


def classes(rng: np.random.Generator, n: int) -> Any:
    return rng.integers(0, 3, n).astype(np.int32)


@dataclass(frozen=True)
class Case:
    """A model, the shape of an example and its label, and what it is trained and judged by."""

    model: Callable[[], Any]
    shape: tuple[int, ...]
    labels: Callable[[np.random.Generator, int], Any] = classes
    loss: Callable[[], Any] = scores
    metrics: Callable[[], Any] = lambda: None
    tokens: bool = False
    data: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        made = [[self._batch(rng, n) for n in sizes] for sizes in SIZES]
        object.__setattr__(self, "data", made)

    def _batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        x = rng.integers(0, 7, (n, *self.shape)) if self.tokens else rng.normal(size=(n, *self.shape))
        return {"x": x.astype(np.int32 if self.tokens else np.float32), "y": self.labels(rng, n)}


CASES: Mapping[str, Case] = {
    "dense": Case(
        lambda: chain((6,), layers().Dense(8, activation="gelu"), layers().LayerNormalization(), layers().Dense(3)),
        (6,),
    ),
    "dropout": Case(
        lambda: chain((6,), layers().Dense(8), layers().Dropout(0.5), layers().Dropout(0.2), layers().Dense(3)), (6,)
    ),
    "penalty": Case(lambda: chain((6,), layers().Dense(3, kernel_regularizer="l2")), (6,)),
    "tokens": Case(
        lambda: chain((5,), layers().Embedding(7, 4), layers().GlobalAveragePooling1D(), layers().Dense(3)),
        (5,),
        tokens=True,
    ),
    "time": Case(
        lambda: chain((5,), layers().Embedding(7, 4), layers().Dense(3)),
        (5,),
        lambda rng, n: rng.integers(0, 3, (n, 5)).astype(np.int32),
        tokens=True,
    ),
    "attention": Case(attention, (5, 4)),
    "frozen statistics": Case(frozen, (6,)),
    "pools": Case(lambda: chain((4, 4, 1), layers().MaxPooling2D(), layers().Flatten(), layers().Dense(3)), (4, 4, 1)),
    "unrolled": Case(lambda: chain((3, 2), layers().LSTM(4, unroll=True), layers().Dense(3)), (3, 2)),
    "numbers": Case(
        lambda: chain((6,), layers().Dense(2)),
        (6,),
        lambda rng, n: rng.normal(size=(n, 2)).astype(np.float32),
        lambda: "mean_squared_error",
        lambda: ["mean_absolute_error"],
    ),
    "yes or no": Case(
        lambda: chain((6,), layers().Dense(1, activation="sigmoid")),
        (6,),
        lambda rng, n: rng.integers(0, 2, n).astype(np.float32),
        lambda: "binary_crossentropy",
        probabilities,
    ),
}


def numbers(value: Any) -> Any:
    """All numbers of a record, behind one another."""
    if hasattr(value, "items"):
        return np.concatenate([numbers(inner) for _, inner in value.items()])
    return np.asarray(value).ravel()


def ran(model: Any, data: list[Any], executor: Any, rounds: int = 2) -> Any:
    """Weights, metrics while training, and the evaluation after some rounds."""
    process = build_federated_averaging(model, client_rate=RATE)
    state, metrics = process.initialize(3), None
    for _ in range(rounds):
        state, metrics = (result := process.run_round(state, (data,), executor=executor)).state, result.metrics
    measured = build_federated_evaluation(model).run((state.weights, data), executor=executor)
    return np.concatenate([numbers(state.weights), numbers(metrics), numbers(measured)])


@pytest.mark.parametrize("name", CASES)
def test_clients_together_are_clients_one_by_one(name: str) -> None:
    case = CASES[name]
    model = from_keras_model(case.model(), case.loss(), metrics=case.metrics(), translate=False)
    together, alone = BatchedExecutor(strategy="blocks"), BatchedExecutor(strategy="sequential")
    found = ran(model, case.data, together)
    assert {made.strategy.name for made in together.made()} == {"blocks"}
    np.testing.assert_allclose(found, ran(model, case.data, alone), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["dropout", "attention"])
def test_bits_do_not_depend_on_chunks_and_blocks(name: str) -> None:
    case = CASES[name]
    model = from_keras_model(case.model(), case.loss(), translate=False)
    ways: list[dict[str, Any]] = [{"strategy": "blocks", "chunk": 16}, {"strategy": "vectorised"}]
    first, second = (ran(model, case.data, BatchedExecutor(**way), rounds=1) for way in ways)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["dense", "dropout"])
def test_they_agree_with_the_reference(name: str) -> None:
    case = CASES[name]
    model = from_keras_model(case.model(), case.loss(), translate=False)
    found = ran(model, case.data, BatchedExecutor(strategy="vectorised"))
    np.testing.assert_allclose(found, ran(model, case.data, "reference"), rtol=1e-5, atol=2e-6)


def test_clients_do_not_share_a_dropout_mask() -> None:
    """Weights of one, inputs of one: what a client's first step changes is where its mask let through."""
    network = chain((8,), layers().Dropout(0.5), layers().Dense(1, kernel_initializer="ones", use_bias=False))
    model = from_keras_model(network, "mean_squared_error", translate=False)
    batch = {"x": np.ones((1, 8), np.float32), "y": np.zeros(1, np.float32)}
    executor, masks = BatchedExecutor(strategy="blocks"), set()
    process = build_federated_averaging(model, client_rate=RATE)
    state = process.initialize(0)
    for position in range(8):
        data = [[batch] if k == position else [] for k in range(8)]
        weights = process.run_round(state, (data,), executor=executor).state.weights
        masks.add(tuple(numbers(weights) != 1))
    assert len(masks) > 4
    assert executor.made()[0].strategy.name == "blocks"


@pytest.mark.parametrize("word", [7, 99])
def test_a_client_with_a_word_that_is_not_there_is_named(word: int) -> None:
    """Though the embeddings of other clients lie beside its own."""
    case = CASES["tokens"]
    model = from_keras_model(case.model(), case.loss(), translate=False)
    wrong = {"x": np.full((2, 5), word, np.int32), "y": np.zeros(2, np.int32)}
    data = [*case.data[:3], [wrong], *case.data[4:]]
    process = build_federated_averaging(model, client_rate=RATE)
    with pytest.raises(DiagnosticError, match="client 3"):
        process.run_round(process.initialize(0), (data,), executor=BatchedExecutor(strategy="blocks"))


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (lambda: chain((6,), layers().BatchNormalization(), layers().Dense(3)), (6,), "mixes the examples of a batch"),
        (lambda: chain((3, 2), layers().LSTM(4), layers().Dense(3)), (3, 2), "`LSTM` loops over time"),
        (
            lambda: chain((4, 4, 1), layers().Conv2D(2, 3), layers().Flatten(), layers().Dense(3)),
            (4, 4, 1),
            "`Conv2D` has a kernel of its own at each client",
        ),
    ],
)
def test_what_must_run_one_by_one_does_and_says_why(model: Any, shape: tuple[int, ...], reason: str) -> None:
    case, said = Case(model, shape), []
    executor = BatchedExecutor(strategy="blocks", notice=said.append)
    found = from_keras_model(case.model(), case.loss(), translate=False)
    process = build_federated_averaging(found, client_rate=RATE)
    process.run_round(process.initialize(0), (case.data,), executor=executor)
    (made,) = executor.made()
    assert made.strategy.name == "sequential"
    assert reason in made.strategy.reason
    assert reason in said[0]


def test_a_convolution_is_evaluated_together() -> None:
    """All clients share its kernel then."""
    case = Case(lambda: chain((4, 4, 1), layers().Conv2D(2, 3), layers().Flatten(), layers().Dense(3)), (4, 4, 1))
    model = from_keras_model(case.model(), case.loss(), translate=False)
    executor, found = BatchedExecutor(strategy="blocks"), []
    for each in (executor, "reference"):
        found.append(numbers(build_federated_evaluation(model).run((model.weights, case.data), executor=each)))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=2e-6)
    assert [made.strategy.name for made in executor.made()] == ["blocks"]


def test_layers_are_known_one_by_one() -> None:
    import keras

    class Own(keras.layers.Dense):  # type: ignore[misc]
        """A layer that nothing is known of."""

    def said(*inner: Any, training: bool = True) -> str:
        return mixing(chain((6,), *inner), training=training)

    assert not said(keras.layers.Dense(3), keras.Sequential([keras.layers.ReLU()]))
    assert "`Own`" in said(Own(3))
    assert "penalty over the batch" in said(keras.layers.Dense(3, activity_regularizer="l2"))
    assert "along the axis of the batch" in said(keras.layers.Dropout(0.5, noise_shape=(1, 6)))
    assert "activation of `Dense`" in said(keras.layers.Dense(3, activation=lambda x: x - keras.ops.mean(x)))
    assert "BatchNormalization" in said(keras.layers.BatchNormalization())
    assert not said(keras.layers.BatchNormalization(), training=False)


def test_losses_are_known_one_by_one() -> None:
    import keras

    assert not mixing_loss(scores())
    assert not mixing_loss("mse")
    assert not mixing_loss(keras.losses.Huber(reduction="sum"))
    assert mixing_loss(keras.losses.Hinge()), "it looks at all labels for their kind"
    assert mixing_loss(keras.losses.SparseCategoricalCrossentropy(ignore_class=0)), "it counts labels"
    assert mixing_loss(lambda y, predicted: keras.ops.mean(predicted))
    assert "several losses" in mixing_loss(["mse", "mse"])


def test_how_metrics_leave_examples_out_is_tried() -> None:
    import tensorflow as tf

    def weighted(metric: Any, *shape: int) -> int:
        given = metrics_of([metric], "mse", Part("float32", shape), tf.TensorSpec([None, *(shape or (1,))]))
        return given[0].weighted

    assert weighted("mean_absolute_error", 2) == 1
    assert weighted(lambda y, predicted: y - predicted, 2) == 0, "a function may do anything"
