"""Keras models as programs of the language, and the learning algorithms of the library for them.

    model = from_keras_model(keras_model, loss="sparse_categorical_crossentropy")
    process = build_federated_averaging(model, client_rate=0.1)

    process = build_federated_averaging_process(model_fn)  # as in TensorFlow Federated's tutorials

Names are loaded when they are first used; TensorFlow when a model is read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedlang.learning.federated import (
        assign_weights_to_keras_model,
        build_federated_averaging_process,
        build_federated_sgd_process,
        state_with_new_model_weights,
    )
    from fedlang.learning.interface import BatchOutput, Model, TrainableModel
    from fedlang.learning.models import KerasModel, assign_weights, from_compiled_keras_model, from_keras_model
    from fedlang.learning.processes import build_federated_averaging, build_federated_evaluation

_HOMES = {
    "BatchOutput": "interface",
    "KerasModel": "models",
    "Model": "interface",
    "TrainableModel": "interface",
    "assign_weights": "models",
    "assign_weights_to_keras_model": "federated",
    "build_federated_averaging": "processes",
    "build_federated_averaging_process": "federated",
    "build_federated_evaluation": "processes",
    "build_federated_sgd_process": "federated",
    "from_compiled_keras_model": "models",
    "from_keras_model": "models",
    "state_with_new_model_weights": "federated",
}

__all__ = [
    "BatchOutput",
    "KerasModel",
    "Model",
    "TrainableModel",
    "assign_weights",
    "assign_weights_to_keras_model",
    "build_federated_averaging",
    "build_federated_averaging_process",
    "build_federated_evaluation",
    "build_federated_sgd_process",
    "from_compiled_keras_model",
    "from_keras_model",
    "state_with_new_model_weights",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
