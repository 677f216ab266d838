"""Keras models as programs: `from_keras_model` and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.embed.loading import Package, loads
from fedlang.embed.records import Record
from fedlang.learning import errors
from fedlang.learning.chains import chain_of, verify_model
from fedlang.learning.layers import KNOWN_LAYERS
from fedlang.learning.losses import default_labels, find_loss, find_metrics
from fedlang.learning.specs import Part, dtype_of, example_shape, parts_of
from fedlang.learning.translation import FieldPath, Module, first_dtype, translate
from fedlang.learning.weights import assign, by_keras_path, read


@dataclass(frozen=True, eq=False)
class KerasModel:
    """A Keras model and the module it was translated to.

    `module` is the text in parts; `variables` the Keras variable behind each leaf of `Weights`.
    """

    keras_model: Any = field(repr=False)
    module: Module = field(repr=False)
    variables: Mapping[FieldPath, Any] = field(repr=False)

    @cached_property
    def source(self) -> str:
        """The module's text: `Weights`, `Example`, the model's function, `predict`, `loss`, `evaluation`."""
        return self.module.text

    @cached_property
    def package(self) -> Package:
        """The module, checked: `model.package.predict(weights, x)`."""
        return loads(self.source, f"<keras {self.keras_model.name}>")

    @property
    def weights(self) -> Record:
        """The weights that the Keras model has now, as a value of `Weights`."""
        return read(self.variables)

    def weights_of(self, weights: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        """Weights, such as `state.weights`, by the variables' paths in Keras; `DiagnosticError` where they differ."""
        return by_keras_path(self.variables, weights)

    def assign_weights(self, weights: Mapping[str, Any]) -> None:
        """Puts weights into the Keras model: all of them or, where they do not fit, none and `DiagnosticError`."""
        assign(self.variables, weights)


def from_keras_model(model: Any, loss: Any = None, input_spec: Any = None, metrics: Sequence[Any] = ()) -> KerasModel:
    """A Keras 3 `Sequential` or chain of layers as a program.

    `loss` is a name or an object of Keras; without one, that of `model.compile`. `input_spec` says what a batch is:
    `(x, y)` with shapes and dtypes (specs or arrays); without one, the model's input and the labels its loss takes.
    Without `metrics` there is the accuracy, where the loss has one. Raises `DiagnosticError` for what has no
    translation.
    """
    verify_model(model, KNOWN_LAYERS)
    given_x, given_y = (None, None) if input_spec is None else parts_of(input_spec)
    shape = example_shape(model, given_x)
    if not model.built:
        model.build((None, *shape))
    found = find_loss(_loss_of(model, loss))
    steps = chain_of(model, shape, KNOWN_LAYERS)
    if not steps:
        raise errors.nothing_to_train(model.name)
    x = Part(first_dtype(steps) if given_x is None else dtype_of(given_x), shape)
    y = default_labels(found.loss, steps[-1].after)
    if given_y is not None:
        y = Part(y.dtype, tuple(int(size) for size in tuple(given_y.shape)[1:]))
    translation = translate(model.name, steps, x, y, found, find_metrics(metrics, found.loss))
    return KerasModel(model, translation.module, translation.variables)


def from_compiled_keras_model(model: Any, sample_batch: Any) -> KerasModel:
    """As `from_keras_model`, with loss and metrics of `model.compile` and the types of one batch `(x, y)`."""
    verify_model(model, KNOWN_LAYERS)
    _loss_of(model, None)
    given = (model.get_compile_config() or {}).get("metrics") or ()
    return from_keras_model(model, None, sample_batch, given if isinstance(given, list | tuple) else (given,))


def assign_weights(model: KerasModel, weights: Mapping[str, Any]) -> None:
    """Puts trained weights, such as `state.weights`, back into the Keras model."""
    model.assign_weights(weights)


def _loss_of(model: Any, given: Any) -> Any:
    loss = given if given is not None else getattr(model, "loss", None)
    if loss is None:
        raise errors.no_loss(model.name)
    return loss
