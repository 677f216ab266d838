"""Clients' data as most users of Keras have it: tuples `(x, y)` and datasets of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.data import ClientData
from fedlang.learning import build_federated_averaging, build_federated_evaluation, from_keras_model

from .cases import chain, layers

X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
Y = np.arange(9, dtype=np.int32) % 3
PLACES = ((0, 4), (4, 8), (8, 9))


def _dataset() -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X, Y.astype(np.int64))).batch(4)


FORMS: dict[str, Callable[[], Any]] = {
    "mappings": lambda: [[{"x": X[a:b], "y": Y[a:b]} for a, b in PLACES], []],
    "tuples": lambda: [[(X[a:b], Y[a:b]) for a, b in PLACES], []],
    "generator": lambda: [((X[a:b], Y[a:b]) for a, b in PLACES), []],
    "dataset": lambda: [_dataset(), _dataset().take(0)],
    "client data": lambda: ClientData.from_dict({"a": (X, Y)}).batches(4),
}


def network() -> Any:
    return chain(layers().Input((4,)), layers().Dense(3, name="dense", activation="softmax"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("translate", [True, False])
def test_batches_may_be_tuples(form: str, translate: bool) -> None:
    model = from_keras_model(network(), "sparse_categorical_crossentropy", translate=translate)
    process = build_federated_averaging(model, client_rate=0.1)
    start = process.initialize(0)
    found, expected = (process.next(start, FORMS[each]()) for each in (form, "mappings"))
    np.testing.assert_array_equal(*(result.state.weights.dense.kernel for result in (found, expected)))
    assert build_federated_evaluation(model)(model.weights, FORMS[form]()).examples == 9


def test_parts_of_inputs_may_be_tuples() -> None:
    import keras

    inputs = [keras.Input((4,)), keras.Input((2,))]
    made = keras.Model(inputs, layers().Dense(1)(layers().Concatenate()(inputs)))
    model = from_keras_model(made, "mse")
    y = Y.astype(np.float32)
    plain = build_federated_evaluation(model)(model.weights, [[((X, X[:, :2]), y)]])
    named = build_federated_evaluation(model)(model.weights, [[{"x": {"part0": X, "part1": X[:, :2]}, "y": y}]])
    assert plain == named


@pytest.mark.parametrize("batch", [(X,), (X, Y, Y), (X, Y, Y, Y)])
def test_tuples_of_another_length_are_refused(batch: Any) -> None:
    model = from_keras_model(network(), "sparse_categorical_crossentropy")
    with pytest.raises(fl.DiagnosticError, match=r"FED0801[\s\S]*by name"):
        build_federated_evaluation(model)(model.weights, [[batch]])


def branched(named: bool) -> tuple[Any, Any]:
    """A model of two inputs and two outputs, and its losses."""
    import keras

    inputs = {"a": keras.Input((4,), name="a"), "c": keras.Input((2,), name="c")}
    joined = layers().Concatenate()(list(inputs.values()))
    outputs = {"kind": layers().Dense(3, activation="softmax")(joined), "size": layers().Dense(1)(joined)}
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    if named:
        return keras.Model(inputs, outputs), losses
    return keras.Model(list(inputs.values()), list(outputs.values())), list(losses.values())


@pytest.mark.parametrize("named", [True, False])
def test_what_a_batch_is_is_read_from_inputs_outputs_and_losses(named: bool) -> None:
    made, losses = branched(named)
    model = from_keras_model(made, losses)
    x, y = (X, X[:, :2]), (Y, X[:, 0])
    batch: Any = ({"a": x[0], "c": x[1]}, {"kind": y[0], "size": y[1]}) if named else (x, y)
    made.compile(loss=losses)
    given = ({"a": x[0], "c": x[1]}, batch[1]) if named else ([*x], [*y])
    expected = made.evaluate(*given, verbose=0, return_dict=True)["loss"]
    assert build_federated_evaluation(model)(model.weights, [[batch]]).loss == pytest.approx(expected, rel=1e-5)


def test_outputs_whose_losses_have_another_form_need_a_spec() -> None:
    with pytest.raises(fl.DiagnosticError, match="FED1021"):
        from_keras_model(branched(named=True)[0], "mse")
