"""What is written for a model, its weights there and back, and the models that are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.learning import KerasModel, assign_weights, from_compiled_keras_model, from_keras_model
from fedlang.learning.names import KEYWORDS, field_name
from fedlang.source import Source
from fedlang.syntax.grammar import parser
from fedlang.syntax.parser import parse
from fedlang.syntax.printer import print_module

from .cases import chain, image, layers, nested, tokens, uneven

SPARSE = "sparse_categorical_crossentropy"
MSE = "mean_squared_error"

SMALL = """\
## The Keras model `small`.
import learning.evaluation (evaluate)
import learning.model (count)
import random

type Weights = {first_layer: {kernel: float32[4, 5], bias: float32[5]},
                out: {kernel: float32[5, 3], bias: float32[3]}}

type Example = {x: uint8[2, 2], y: int32}

fn logits[n](w: Weights, x: uint8[n, 2, 2]) -> float32[n, 3] {
  let x = cast[float32](x)
  let x = x * 0.5 - 1.0  # scale
  let x = flatten(x)  # flat
  let x = relu(x @ w.first_layer.kernel + w.first_layer.bias)  # first-layer
  x @ stop_gradient(w.out.kernel) + stop_gradient(w.out.bias)  # out
}

## The same while training: with dropout.
fn training_logits[n](w: Weights, x: uint8[n, 2, 2], key: Key) -> float32[n, 3] {
  let x = cast[float32](x)
  let x = x * 0.5 - 1.0  # scale
  let x = flatten(x)  # flat
  let x = relu(x @ w.first_layer.kernel + w.first_layer.bias)  # first-layer
  let x = dropout(random.at(key, 0), x, rate = 0.25)  # drop
  x @ stop_gradient(w.out.kernel) + stop_gradient(w.out.bias)  # out
}

fn predict(w: Weights, x: uint8[?, 2, 2]) -> float32[?, 3] {
  softmax(logits(w, x))
}

fn loss(w: Weights, batch: Example[?], key: Key) -> float32 {
  reduce_mean(sparse_softmax_cross_entropy(training_logits(w, batch.x, key), batch.y))
}

## Sums over examples, or their means once the server has divided them.
type Measured = {loss: float32, accuracy: float32, examples: float32}

fn measure(w: Weights, batch: Example[?]) -> Measured {
  let scores = logits(w, batch.x)
  let examples = count(batch)
  {loss: examples * reduce_mean(sparse_softmax_cross_entropy(scores, batch.y)),
   accuracy: examples * reduce_mean(cast[float32](arg_max(scores, axis = -1) == batch.y)), examples}
}

fn finish(sums: Measured) -> Measured {
  {loss: sums.loss / sums.examples, accuracy: sums.accuracy / sums.examples,
   examples: sums.examples}
}

fed evaluation(weights: Weights@SERVER, data: <Example[?]*>@CLIENTS) -> Measured@SERVER {
  evaluate({measure, finish}, weights, data)
}
"""


def small() -> Any:
    import keras

    found = keras.Sequential(
        [
            layers().Input((2, 2)),
            layers().Rescaling(0.5, offset=-1.0, name="scale"),
            layers().Flatten(name="flat"),
            layers().Dense(5, activation="relu", name="first-layer"),
            layers().Dropout(0.25, name="drop"),
            layers().Dense(3, activation="softmax", name="out", trainable=False),
        ],
        name="small",
    )
    return uneven(found)


def pictures(count: int = 4) -> Any:
    generator = np.random.default_rng(4)
    return generator.integers(0, 256, (count, 2, 2)).astype("uint8"), generator.integers(0, 3, count)


def translated(model: Any) -> KerasModel:
    return from_keras_model(model, SPARSE, pictures())


def test_the_text_of_a_model() -> None:
    assert translated(small()).source == SMALL


def test_the_text_is_in_the_one_style() -> None:
    source = from_keras_model(tokens(layers().LSTM(3, return_sequences=True), layers().LSTM(3)), MSE).source
    assert print_module(parse(Source("", source))) == source


def test_prediction_is_that_of_keras_without_dropout() -> None:
    keras_model, (x, _) = small(), pictures()
    model = translated(keras_model)
    np.testing.assert_allclose(model.package.predict(model.weights, x), keras_model.predict(x, verbose=0), rtol=1e-5)


def test_dropout_depends_on_the_key() -> None:
    model, (x, y) = translated(small()), pictures(40)
    losses = [float(model.package.loss(model.weights, {"x": x, "y": y}, key)) for key in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_the_model_is_built_where_it_has_no_input_yet() -> None:
    model = from_keras_model(chain(layers().Dense(3, name="only")), MSE, (np.zeros((2, 4)), np.zeros((2, 3))))
    assert model.weights.only.kernel.shape == (4, 3)


def test_tokens_are_whole_numbers_even_for_an_input_that_keras_calls_float() -> None:
    model = from_keras_model(tokens(layers().LSTM(3), layers().Dense(3, activation="softmax")), SPARSE)
    assert "type Example = {x: int32[5], y: int32}" in model.source


def test_loss_and_metrics_of_compile_are_taken() -> None:
    keras_model = chain(layers().Input((4,)), layers().Dense(1))
    keras_model.compile("sgd", MSE, metrics=["mae"])
    source = from_compiled_keras_model(keras_model, (np.zeros((2, 4)), np.zeros((2,)))).source
    assert "type Measured = {loss: float32, mae: float32, examples: float32}" in source
    assert "y: float32}" in source


# ---- weights ----


def test_weights_go_to_keras_and_come_back() -> None:
    model, other = translated(small()), translated(small())
    expected = {path: value + 1 for path, value in model.weights_of(model.weights).items()}
    changed = fl.Record(
        {layer: fl.Record({name: leaf + 1 for name, leaf in fields.items()}) for layer, fields in model.weights.items()}
    )
    assign_weights(model, changed)
    assert model.weights == changed != other.weights
    for variable in model.keras_model.weights:
        if variable.path in expected:
            np.testing.assert_array_equal(variable.numpy(), expected[variable.path])


def test_weights_of_nested_models_lie_in_nested_records() -> None:
    keras_model = nested()
    model = from_keras_model(keras_model, MSE)
    inner = keras_model.layers[0]
    assert model.weights[inner.name][inner.layers[0].name].kernel.shape == (4, 5)


def test_weights_that_do_not_fit_change_nothing() -> None:
    model = translated(small())
    before = model.weights
    wrong = {"first_layer": {"kernel": np.zeros((4, 6)), "bias": np.zeros(5)}, "last": {"bias": np.zeros(3)}}
    words = (
        r"missing: \.out\.kernel, \.out\.bias[\s\S]*unknown: \.last\.bias[\s\S]*`\.first_layer\.kernel` has the shape"
    )
    with pytest.raises(fl.DiagnosticError, match=words):
        assign_weights(model, wrong)
    assert model.weights == before


# ---- names ----


def test_words_of_the_language_are_no_fields() -> None:
    patterns = [terminal.pattern for terminal in parser()[0].terminals]
    words = {each.value for each in patterns if each.type == "str" and re.fullmatch("[a-z]+", each.value)}
    assert words == KEYWORDS
    assert [field_name(name) for name in ("dense", "a-b/c", "2nd", "fold")] == ["dense", "a_b_c", "_2nd", "fold_"]


def test_names_that_clash_are_both_named() -> None:
    model = chain(layers().Input((4,)), layers().Dense(3, name="a-b"), layers().Dense(3, name="a.b"))
    with pytest.raises(fl.DiagnosticError, match=r"`a-b` and `a\.b` are both the field `a_b`"):
        from_keras_model(model, MSE)


# ---- refused ----


def subclassed() -> Any:
    import keras

    class Own(keras.Model):  # type: ignore[misc]
        pass

    return Own()


def own_layer() -> Any:
    class Dense(layers().Dense):  # type: ignore[misc,name-defined]
        pass

    return chain(layers().Input((4,)), Dense(3, name="mine"))


def shared_statistics() -> Any:
    import keras

    start, norm = layers().Input((4,)), layers().BatchNormalization(name="norm")
    return keras.Model(start, layers().Dense(3)(norm(norm(start))))


def scaled_by_a_number() -> Any:
    import keras

    start = layers().Input((4,))
    return keras.Model(start, layers().Dense(3)(start) * 2.0)


def spread_values() -> Any:
    import keras

    start = layers().Input((4,))
    return keras.Model(start, layers().Add()([layers().Dense(4)(start), layers().Dense(1)(start)]))


def several_values() -> Any:
    import keras

    start = layers().Input((5, 4))
    state = layers().Dense(3)(layers().Flatten()(start))
    return keras.Model(start, layers().GRU(3, name="gru")(start, initial_state=state))


def tokens_beside_an_embedding() -> Any:
    import keras

    start = layers().Input((5,))
    looked_up = layers().Flatten()(layers().Embedding(7, 4)(start))
    return keras.Model(start, layers().Concatenate()([looked_up, layers().Dense(2, name="beside")(start)]))


def identity() -> Any:
    import keras

    start = layers().Input((4,))
    return keras.Model(start, start)


def two_outputs() -> Any:
    import keras

    start = layers().Input((4,))
    return keras.Model(start, [layers().Dense(4)(start), layers().Dense(3)(start)])


def dense(**options: Any) -> Any:
    return chain(layers().Input((4,)), layers().Dense(3, name="d", **options))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown layer": (
        lambda: chain(image(), layers().UnitNormalization(name="norm"), layers().Flatten()),
        r"`norm` is a UnitNormalization, which has no translation[\s\S]*Conv2D, Dense",
    ),
    "own layer": (own_layer, r"`mine` is a Dense of its own"),
    "subclassed": (subclassed, r"Own is a class of its own[\s\S]*Conv2D, Dense[\s\S]*Sequential"),
    "statistics twice": (shared_statistics, r"`norm` is a BatchNormalization with calls = 2"),
    "scaled by a number": (scaled_by_a_number, r"is a Multiply with argument 1 = 2\.0"),
    "spread values": (spread_values, r"is a Add with shapes = \[\(1,\), \(4,\)\]"),
    "several values": (several_values, r"`gru` is a GRU with initial_state = "),
    "tokens beside an embedding": (tokens_beside_an_embedding, r"`beside` is a Dense with input = 'whole numbers'"),
    "two outputs": (two_outputs, r"has 1 input and 2 outputs[\s\S]*one input to one output"),
    "no model": (lambda: "a string", r"a builtins\.str is no Keras 3 model"),
    "no weights": (lambda: chain(layers().Input((4,)), layers().ReLU()), "has no weights"),
    "no layers": (identity, "has no weights"),
    "embedding of floats": (lambda: chain(layers().Input((4,)), layers().ReLU(), layers().Embedding(3, 2)), "input ="),
    "unknown size": (lambda: chain(layers().Input((None, 4)), layers().LSTM(2)), r"has the shape \[None, None, 4\]"),
    "not built": (lambda: chain(layers().Dense(3)), r"has the shape \[None\]"),
    "activation": (lambda: dense(activation="celu"), r"`d` is a Dense with activation = 'celu'[\s\S]*relu"),
    "own activation": (lambda: dense(activation=lambda x: x), r"Dense with activation = "),
    "penalty": (lambda: dense(kernel_regularizer="l2"), r"kernel_regularizer"),
    "precision": (lambda: dense(dtype="mixed_float16"), r"dtype = 'float16'"),
    "strides": (lambda: chain(image(), layers().Conv2D(2, 3, strides=(1, 2))), r"strides = \(1, 2\)"),
    "pooling": (
        lambda: chain(image(), layers().Conv2D(2, 3), layers().MaxPooling2D(2, strides=1)),
        r"strides = \(1, 1\)",
    ),
    "masking": (lambda: chain(layers().Input((5,)), layers().Embedding(7, 4, mask_zero=True)), "mask_zero = True"),
    "recurrence": (lambda: chain(layers().Input((5, 4)), layers().LSTM(2, go_backwards=True)), "go_backwards = True"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_are_refused(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(fl.DiagnosticError, match=words):
        from_keras_model(make(), MSE, translate=True)
