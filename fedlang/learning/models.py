"""Keras models as programs: `from_keras_model` and what it gives."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.diagnostics import DiagnosticError
from fedlang.embed.loading import Package, package_of
from fedlang.embed.origins import Origin
from fedlang.embed.records import Record
from fedlang.learning import errors
from fedlang.learning.called import by_place, call_model
from fedlang.learning.layers import KNOWN_LAYERS
from fedlang.learning.losses import KNOWN_LOSSES, default_labels, find_loss, find_metrics
from fedlang.learning.objectives import Factors, factors_of
from fedlang.learning.signature import signature_of
from fedlang.learning.specs import Part, dtype_of, example_shape, parts_of
from fedlang.learning.text import FieldPath, Module
from fedlang.learning.translation import Translation, first_dtype, translate
from fedlang.learning.weights import assign, by_keras_path, read
from fedlang.learning.wiring import steps_of, verify_is_keras, verify_model
from fedlang.source import Source


@dataclass(frozen=True, eq=False)
class KerasModel:
    """A Keras model and the module that it became.

    `calls` says that the module calls the model instead of saying what it computes, and `reason` why.
    """

    keras_model: Any = field(repr=False)
    translation: Translation = field(repr=False)
    reason: str = ""
    calls: bool = False

    @property
    def origin(self) -> Origin:
        """The model as programs that are made of it tell of it."""
        return Origin(self.keras_model.name, self.calls, self.reason, (self.translation.functions,))

    @property
    def module(self) -> Module:
        """The module's text in parts."""
        return self.translation.module

    @property
    def variables(self) -> Mapping[FieldPath, Any]:
        """The Keras variable behind each leaf of `Weights`."""
        return self.translation.variables

    @property
    def has_statistics(self) -> bool:
        """Whether the model keeps numbers that training changes without a derivative: moving means, for one."""
        return self.translation.settles

    @cached_property
    def source(self) -> str:
        """The module's text: `Weights`, `Example`, the model's function, `predict`, `loss`, `evaluation`."""
        return self.module.text

    @cached_property
    def package(self) -> Package:
        """The module, checked: `model.package.predict(weights, x)`."""
        return package_of(Source(f"<keras {self.keras_model.name}>", self.source), None, (self.origin,))

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


def from_keras_model(
    model: Any,
    loss: Any = None,
    input_spec: Any = None,
    metrics: Sequence[Any] = (),
    *,
    loss_weights: Any = None,
    translate: bool | None = None,
) -> KerasModel:
    """A Keras 3 model as a program.

    A model of known layers is translated to the language; any other model is called, and `reason` says why.
    `translate=True` refuses to call, `translate=False` to translate. `loss` is a name, an object or a function that
    Keras takes; without one, that of `model.compile`. `input_spec` says what a batch is: `(x, y)` with shapes and
    dtypes (specs or arrays, or mappings and tuples of them); without one, the model's inputs and the labels its loss
    takes. Without `metrics` there is the accuracy, where the loss has one. `loss_weights` are factors of the losses, in
    their form. Raises `DiagnosticError`.
    """
    verify_is_keras(model)
    found, weights = (by_place(model, each) for each in (_loss_of(model, loss), loss_weights))
    factors = factors_of(found, weights)
    asked = [metrics] if isinstance(metrics, str) else metrics
    made = _made(model, found, input_spec, asked, factors, translate)
    if made.calls and (text := _kept_otherwise(model)):
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    if any(str(variable.dtype) == "float64" for variable in made.variables.values()):
        text = f"the model `{model.name}` has weights of float64; the program keeps and averages them as float32"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return made


def _made(
    model: Any, loss: Any, spec: Any, metrics: Sequence[Any], factors: Factors, translate: bool | None
) -> KerasModel:
    """The model translated, or else called."""
    reason: DiagnosticError | None = None
    if translate is not False:
        try:
            return KerasModel(model, _translated(model, loss, spec, metrics, factors))
        except DiagnosticError as error:
            if translate or error.diagnostics[0].code not in WITHOUT_TRANSLATION:
                raise
            reason = error
    called = _called(model, loss, spec, metrics, factors)
    return KerasModel(model, called, reason.diagnostics[0].title if reason else "as asked for", calls=True)


# What is wrong with a translation, but not with the model.
WITHOUT_TRANSLATION = ("FED1001", "FED1003", "FED1004", "FED1005", "FED1008", "FED1011")


def _translated(model: Any, loss: Any, spec: Any, metrics: Sequence[Any], factors: Factors) -> Translation:
    verify_model(model, KNOWN_LAYERS)
    given_x, given_y = (None, None) if spec is None else parts_of(spec)
    if any(isinstance(part, Mapping | tuple) for part in (given_x, given_y)):
        raise errors.several_parts(model.name)
    shape = example_shape(model, given_x)
    if not model.built:
        try:
            model.build((None, *shape))
        except Exception as error:  # whatever the layers' code raises
            raise errors.model_failed(model.name, f"{type(error).__name__}: {error}") from error
    found = find_loss(loss)
    if factors is not None:
        raise errors.unknown_loss(f"{found.loss.name} with loss_weights = {factors!r}", KNOWN_LOSSES)
    steps = steps_of(model, shape, KNOWN_LAYERS)
    if not steps:
        raise errors.nothing_to_train(model.name)
    x = Part(first_dtype(steps) if given_x is None else dtype_of(given_x), shape)
    y = default_labels(found.loss, steps[-1].after)
    if given_y is not None:
        y = Part(y.dtype, tuple(int(size) for size in tuple(given_y.shape)[1:]))
    return translate(model.name, steps, x, y, found, find_metrics(metrics, found.loss, steps[-1].after))


def _called(model: Any, loss: Any, spec: Any, metrics: Sequence[Any], factors: Factors) -> Translation:
    signature = signature_of(model, spec, loss)
    try:
        if not model.built or not model.variables:
            model(signature.zeros())
        return call_model(model, loss, signature, metrics, factors)
    except DiagnosticError:
        raise
    except Exception as error:  # whatever the code of a model, a loss or a metric raises
        raise errors.model_failed(model.name, f"{type(error).__name__}: {error}") from error


def from_compiled_keras_model(model: Any, sample_batch: Any, *, translate: bool | None = None) -> KerasModel:
    """As `from_keras_model`, with what `model.compile` was given and the types of one batch `(x, y)`.

    That is the loss, its weights, and the metrics: examples have no weights, so weighted metrics are like the others.
    """
    verify_is_keras(model)
    _loss_of(model, None)
    compiled = model.get_compile_config() or {}
    kept = getattr(model, "_compile_metrics", None)  # the objects themselves; a configuration has no class of a user's
    given = (getattr(kept, f"_user_{name}", compiled.get(name)) for name in ("metrics", "weighted_metrics"))
    metrics = [metric for each in given for metric in _flat(each)]
    weights = _plain(compiled.get("loss_weights"))
    return from_keras_model(model, None, sample_batch, metrics, loss_weights=weights, translate=translate)


def _kept_otherwise(model: Any) -> str:
    """What a call does not do and Keras's own training does, as a warning; "" where it is the same."""
    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else model.layers
    constraints = [each.path for each in model.trainable_variables if getattr(each, "constraint", None) is not None]
    stateful = [each.name for each in layers if getattr(each, "stateful", False) is True and hasattr(each, "cell")]
    return errors.kept_otherwise(model.name, constraints, stateful) if constraints or stateful else ""


def _flat(given: Any) -> list[Any]:
    """Metrics out of the lists and mappings of outputs that they may be in."""
    if isinstance(given, Mapping) and "class_name" not in given:
        return [metric for each in given.values() for metric in _flat(each)]
    if isinstance(given, list | tuple):
        return [metric for each in given for metric in _flat(each)]
    return [] if given is None else [given]


def _plain(config: Any) -> Any:
    """A value of Keras's configuration: it writes a tuple as a mapping."""
    is_tuple = isinstance(config, Mapping) and config.get("class_name") == "__tuple__"
    return tuple(config["items"]) if is_tuple else config


def assign_weights(model: KerasModel, weights: Mapping[str, Any]) -> None:
    """Puts trained weights, such as `state.weights`, back into the Keras model."""
    verify_is_program(model)
    model.assign_weights(weights)


def verify_is_program(model: Any) -> None:
    """What `from_keras_model` gives, else `DiagnosticError`."""
    if not isinstance(model, KerasModel):
        raise errors.not_a_program(type(model).__name__)


def _loss_of(model: Any, given: Any) -> Any:
    loss = given if given is not None else getattr(model, "loss", None)
    if loss is None:
        raise errors.no_loss(model.name)
    return loss
