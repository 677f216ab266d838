"""What a batch is for a model that is called: any nest of arrays, as a record type and as leaves in the graph's order.

A mapping becomes a record; of a tuple or list, the parts are the fields `part0`, `part1` and so on. The model gets the
nest as it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlang.learning import errors
from fedlang.learning.names import field_name, verify_no_clash
from fedlang.learning.objectives import name_of
from fedlang.learning.specs import Part, dtype_of, parts_of
from fedlang.learning.text import print_record

Nest = Any  # Part, or mappings, tuples and lists of nests


@dataclass(frozen=True)
class Signature:
    """The nests of `x` and `y`, of one example."""

    x: Nest
    y: Nest

    @property
    def example(self) -> Any:
        """The type of one example, for `print_record`."""
        return {"x": _type(self.x, str), "y": _type(self.y, str)}

    @property
    def x_batch(self) -> str:
        """The type of the inputs of a batch."""
        return print_record(_type(self.x, lambda part: part.with_batch("?")))

    @property
    def x_specs(self) -> list[Any]:
        """What TensorFlow is told of the leaves of `x`."""
        return [_spec(part) for part in _leaves(self.x)]

    @property
    def batch_specs(self) -> list[Any]:
        """What TensorFlow is told of a batch's leaves: those of `x`, then those of `y`."""
        return [*self.x_specs, *map(_spec, _leaves(self.y))]

    def zeros(self) -> Any:
        """Inputs of a batch of one."""
        return _rebuilt(self.x, iter([np.zeros((1, *part.shape), part.dtype) for part in _leaves(self.x)]))

    def x_of(self, leaves: Sequence[Any]) -> Any:
        """The nest of these leaves."""
        return _rebuilt(self.x, iter(leaves))

    def batch_of(self, leaves: Sequence[Any]) -> tuple[Any, Any]:
        """The nests of `x` and `y` of these leaves."""
        rest = iter(leaves)
        return _rebuilt(self.x, rest), _rebuilt(self.y, rest)


@dataclass(frozen=True)
class BatchSpec:
    """A batch as one nest of `tf.TensorSpec`s."""

    nest: Nest

    @property
    def type(self) -> str:
        """The type, as text."""
        return print_record(_type(self.nest, _spec_type))

    @property
    def specs(self) -> list[Any]:
        """The specs of the leaves, in the graph's order."""
        return list(_leaves(self.nest))

    def nest_of(self, leaves: Iterator[Any]) -> Any:
        """The nest of the next leaves."""
        return _rebuilt(self.nest, leaves)


def nested_specs(spec: Any) -> BatchSpec:
    """From the `input_spec` of a model class. Raises `DiagnosticError` where it holds no specs, or names clash."""
    for leaf in _leaves(spec):
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise errors.unreadable_batch(f"a {type(leaf).__name__}")
    _verify_names(spec, ())
    return BatchSpec(spec)


def _spec_type(spec: Any) -> str:
    sizes = ", ".join("?" if size is None else str(size) for size in spec.shape)
    return f"{spec.dtype.name}[{sizes}]" if sizes else str(spec.dtype.name)


def signature_of(model: Any, spec: Any, loss: Any) -> Signature:
    """From specs or a batch `(x, y)`; without, from the model's own inputs and outputs and what the loss compares.

    Raises `DiagnosticError` for what is not known, and for names that clash.
    """
    if spec is None:
        x, labels = _parts_of_model(model, loss)
        found = Signature(nest_of(x), labels)
    else:
        found = Signature(*map(nest_of, parts_of(spec)))
    for nest in (found.x, found.y):
        _verify_names(nest, ())
    return found


def _parts_of_model(model: Any, loss: Any) -> tuple[Any, Nest]:
    """The model's inputs, and labels like its outputs."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise errors.spec_missing(model.name)
    if type(model).__name__ == "Sequential":
        return inputs[0], _labels(model, outputs[0], loss)
    return model.input, _labels(model, outputs[0] if len(outputs) == 1 else model.output, loss)


def _labels(model: Any, output: Any, loss: Any) -> Nest:
    """Labels like an output: a class index an example where its loss is sparse. Like several, where losses are."""
    if isinstance(output, Mapping) and isinstance(loss, Mapping) and set(output) == set(loss):
        return {name: _labels(model, output[name], loss[name]) for name in output}
    if isinstance(output, tuple | list) and isinstance(loss, tuple | list) and len(output) == len(loss):
        return [_labels(model, *pair) for pair in zip(output, loss, strict=True)]
    if not hasattr(output, "shape"):
        raise errors.spec_missing(model.name)
    shape = tuple(output.shape)[1:]
    if "sparse" in name_of(loss):
        return Part("int32", tuple(shape[:-1]))
    return Part("float32", tuple(shape[:-1] if shape[-1:] == (1,) else shape))


def nest_of(value: Any) -> Nest:
    """The parts of arrays or specs, without the axis of the batch."""
    if isinstance(value, Mapping):
        return {name: nest_of(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(nest_of(inner) for inner in value) if not hasattr(value, "_fields") else nest_of([*value])
    shape = tuple(value.shape)
    if not shape or any(size is None for size in shape[1:]):
        raise errors.unknown_size("the batch", shape)
    return Part(dtype_of(value), tuple(int(size) for size in shape[1:]))


def _fields(nest: Nest) -> list[tuple[str, Any]]:
    """The fields and the keys behind them, in the order in which the graph has them."""
    if isinstance(nest, Mapping):
        return sorted((field_name(str(key)), key) for key in nest)
    return sorted((f"part{key}", key) for key in range(len(nest)))


def _is_leaf(nest: Nest) -> bool:
    return not isinstance(nest, Mapping | tuple | list)


def _verify_names(nest: Nest, path: tuple[str, ...]) -> None:
    if _is_leaf(nest):
        return
    if isinstance(nest, Mapping):
        verify_no_clash((*path, str(key)) for key in nest)
    for _, key in _fields(nest):
        _verify_names(nest[key], (*path, str(key)))


def _leaves(nest: Nest) -> Iterator[Any]:
    if _is_leaf(nest):
        yield nest
        return
    for _, key in _fields(nest):
        yield from _leaves(nest[key])


def _rebuilt(nest: Nest, leaves: Iterator[Any]) -> Any:
    if _is_leaf(nest):
        return next(leaves)
    found = {key: _rebuilt(nest[key], leaves) for _, key in _fields(nest)}
    return (
        {key: found[key] for key in nest} if isinstance(nest, Mapping) else type(nest)(found[k] for k in sorted(found))
    )


def _type(nest: Nest, text: Any) -> Any:
    """The nest's types, the fields in the nest's own order."""
    if _is_leaf(nest):
        return text(nest)
    if isinstance(nest, Mapping):
        return {field_name(str(key)): _type(inner, text) for key, inner in nest.items()}
    return {f"part{key}": _type(inner, text) for key, inner in enumerate(nest)}


def _spec(part: Part) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((None, *part.shape), part.dtype)
