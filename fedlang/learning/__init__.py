"""Keras models as programs of the language, and the learning algorithms of the library for them.

    model = from_keras_model(keras_model, loss="sparse_categorical_crossentropy")
    process = build_federated_averaging(model, client_rate=0.1)

Names are loaded when they are first used; TensorFlow when a model is read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedlang.learning.models import KerasModel, assign_weights, from_compiled_keras_model, from_keras_model
    from fedlang.learning.processes import build_federated_averaging, build_federated_evaluation

_HOMES = {
    "KerasModel": "models",
    "assign_weights": "models",
    "build_federated_averaging": "processes",
    "build_federated_evaluation": "processes",
    "from_compiled_keras_model": "models",
    "from_keras_model": "models",
}

__all__ = [
    "KerasModel",
    "assign_weights",
    "build_federated_averaging",
    "build_federated_evaluation",
    "from_compiled_keras_model",
    "from_keras_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
