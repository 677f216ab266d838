"""A Keras model as its layers in the order of the computation, and whose values each takes; nested models opened up.

In: a Keras 3 model with one input and one output, `Sequential` or made from inputs and outputs, with branches or
without. Out: `Step`s; the path of each holds the names of the nested models it lies in and its own. Nothing here knows
what a layer computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedlang.learning import errors

Shape = tuple[int, ...]
INPUT = -1
"""The place of the model's input among the places of steps, which begin at 0."""

OPERATORS = ("Add", "Subtract", "Multiply", "Maximum", "Minimum")
"""Operations on two values that are no layers and mean what the layer of the name means."""


@dataclass(frozen=True)
class Step:
    """One call of a layer: the names that lead to it, where it was met first; the places of the values it takes, their
    shapes and that of what it gives, without the axis of the batch."""

    layer: Any
    path: tuple[str, ...]
    takes: tuple[int, ...]
    shapes: tuple[Shape, ...]
    after: Shape

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__

    @property
    def before(self) -> Shape:
        """The shape of the first value it takes."""
        return self.shapes[0]

    @property
    def weights(self) -> Sequence[Any]:
        """The layer's variables; an operation has none."""
        return getattr(self.layer, "weights", ())


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


def steps_of(model: Any, shape: Shape, known: Sequence[str]) -> tuple[Step, ...]:
    """The layers between an input of that shape and the output. The last step gives the output."""
    walk = _Walk(shape, known)
    output = walk.through(model, (), (INPUT,))
    return tuple(walk.steps) if output == len(walk.steps) - 1 else ()


@dataclass
class _Walk:
    """The steps so far."""

    shape: Shape
    known: Sequence[str]
    steps: list[Step] = field(default_factory=list)
    paths: dict[int, tuple[str, ...]] = field(default_factory=dict)  # to each layer, where it was met first

    def through(self, model: Any, path: tuple[str, ...], given: tuple[int, ...]) -> int:
        """The place of what a model gives for the values at these places."""
        import keras

        verify_model(model, self.known)
        if not isinstance(model, keras.Sequential):
            return self._branches(model, path, given)
        for layer in model.layers:
            given = (self._call(layer, path, given),)
        return given[0]

    def _branches(self, model: Any, path: tuple[str, ...], given: tuple[int, ...]) -> int:
        if len(model.outputs) != 1 or len(model.inputs) != len(given):
            raise errors.several_ends(model.name, len(model.inputs), len(model.outputs))
        places = {id(tensor): place for tensor, place in zip(model.inputs, given, strict=True)}
        for tensor, operation, node in _in_order(model.outputs[0], places.keys()):
            _verify_layer(operation, self.known)
            _verify_call(operation, node)
            places[id(tensor)] = self._call(operation, path, tuple(places[id(each)] for each in _given(node)))
        return places[id(model.outputs[0])]

    def _call(self, layer: Any, path: tuple[str, ...], given: tuple[int, ...]) -> int:
        import keras

        here = (*path, layer.name)
        if isinstance(layer, keras.Model):
            return self.through(layer, here, given)
        if type(layer).__name__ == "InputLayer":
            return given[0]
        _verify_layer(layer, self.known)
        here = self.paths.setdefault(id(layer), here)
        shapes = tuple(self.shape if place == INPUT else self.steps[place].after for place in given)
        self.steps.append(Step(layer, here, given, shapes, _shape_after(layer, shapes)))
        return len(self.steps) - 1


def _shape_after(layer: Any, shapes: tuple[Shape, ...]) -> Shape:
    import keras

    if not isinstance(layer, keras.layers.Layer):
        return shapes[0]  # an operator on two values of one shape
    batches = [(None, *shape) for shape in shapes]
    return tuple(layer.compute_output_shape(batches if len(batches) > 1 else batches[0]))[1:]


def _in_order(output: Any, given: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Each tensor between the inputs and the output with its operation and node, behind all that it is made of."""
    done, waiting = set(given), [output]
    while waiting:
        tensor = waiting[-1]
        if id(tensor) in done:
            waiting.pop()
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        missing = [each for each in _given(node) if id(each) not in done]
        if missing:
            waiting.extend(reversed(missing))
            continue
        done.add(id(tensor))
        yield waiting.pop(), history.operation, node


def _verify_layer(layer: Any, known: Sequence[str]) -> None:
    import keras

    kind = type(layer).__name__
    if isinstance(layer, keras.Model):
        return  # its layers are looked at one by one
    if not is_keras_class(layer):
        raise errors.own_layer(layer.name, kind, known)
    if kind not in known or not (isinstance(layer, keras.layers.Layer) or kind in OPERATORS):
        raise errors.unknown_layer(layer.name, kind, known)


def _given(node: Any) -> list[Any]:
    """The values of the model that a call is given in their places. Those by name, such as masks, are refused."""
    return [each for each in _arguments(node) if hasattr(each, "_keras_history")]


def _arguments(node: Any) -> list[Any]:
    return [each for part in node.arguments.args for each in (part if isinstance(part, list | tuple) else [part])]


def _verify_call(operation: Any, node: Any) -> None:
    """A call with values of the model and nothing else, but for `training`: what the model is called with counts."""
    options = {name: value for name, value in node.arguments.kwargs.items() if value is not None and name != "training"}
    options |= {f"argument {k}": each for k, each in enumerate(_arguments(node)) if not hasattr(each, "_keras_history")}
    for option, value in options.items():
        raise errors.unsupported_option(
            operation.name, type(operation).__name__, option, value, "a call without options"
        )
