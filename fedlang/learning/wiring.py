"""A Keras model as the chain of its layers, nested models opened up.

In: a Keras 3 model, `Sequential` or made from inputs and outputs. Out: `Step`s in the order of the computation; the
path of each holds the names of the nested models it lies in and its own. Nothing here knows what a layer computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedlang.learning import errors

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One layer of the chain, the names that lead to it, and its shapes without the axis of the batch."""

    layer: Any
    path: tuple[str, ...]
    before: Shape
    after: Shape

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__


def is_keras_class(value: object) -> bool:
    """Whether Keras itself has the class, so that its name says what it does."""
    return type(value).__module__.split(".")[0] == "keras"


def is_keras_model(model: Any) -> bool:
    """Whether it is a model of Keras 3."""
    import keras

    return isinstance(model, keras.Model)


def verify_is_keras(model: Any) -> None:
    """A Keras 3 model, else `DiagnosticError`."""
    if not is_keras_model(model):
        raise errors.not_a_keras_model(f"{type(model).__module__}.{type(model).__name__}")


def verify_model(model: Any, known: Sequence[str]) -> None:
    """A model whose layers can be followed, else `DiagnosticError`."""
    verify_is_keras(model)
    if not is_keras_class(model) or type(model).__name__ not in ("Sequential", "Functional"):
        raise errors.subclassed_model(type(model).__name__, known)


def chain_of(model: Any, shape: Shape, known: Sequence[str]) -> tuple[Step, ...]:
    """The layers between an input of that shape and the output."""
    steps: list[Step] = []
    for layer, path in _layers(model, (), known):
        after = tuple(layer.compute_output_shape((None, *shape)))[1:]
        steps.append(Step(layer, path, shape, after))
        shape = after
    return tuple(steps)


def _layers(model: Any, path: tuple[str, ...], known: Sequence[str]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    import keras

    verify_model(model, known)
    for layer in _ordered(model):
        here = (*path, layer.name)
        if isinstance(layer, keras.Model):
            yield from _layers(layer, here, known)
        elif type(layer).__name__ != "InputLayer":
            _verify_layer(layer, known)
            yield layer, here


def _verify_layer(layer: Any, known: Sequence[str]) -> None:
    import keras

    kind = type(layer).__name__
    if not is_keras_class(layer):
        raise errors.own_layer(layer.name, kind, known)
    if kind not in known or not isinstance(layer, keras.layers.Layer):
        raise errors.unknown_layer(layer.name, kind, known)


def _ordered(model: Any) -> list[Any]:
    import keras

    return list(model.layers) if isinstance(model, keras.Sequential) else _followed(model)


def _followed(model: Any) -> list[Any]:
    """The operations from the only input to the only output, found from the output back."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise errors.not_a_chain(model.name, f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs")
    found: list[Any] = []
    tensor = model.outputs[0]
    while tensor is not model.inputs[0]:
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        _verify_node(model, history.operation, node)
        found.append(history.operation)
        tensor = node.input_tensors[0]
    return found[::-1]


def _verify_node(model: Any, operation: Any, node: Any) -> None:
    if len(node.input_tensors) != 1:
        raise errors.not_a_chain(model.name, f"`{operation.name}` takes {len(node.input_tensors)} values")
    for option, value in node.arguments.kwargs.items():
        if value is not None:
            raise errors.unsupported_option(
                operation.name, type(operation).__name__, option, value, "a call without options"
            )
