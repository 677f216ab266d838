"""TensorFlow functions as `extern fn` declarations. TensorFlow is imported only when one is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from fedlang.embed import errors
from fedlang.embed.records import Record
from fedlang.embed.tracing import Declared, line_span
from fedlang.run.externs import register_extern
from fedlang.source import Source, Span
from fedlang.syntax import tree
from fedlang.syntax.parser import parse_type


class TensorFlowExtern:
    """A registered function of leaves, in the graph's order.

    `function` is the `tf.function`; `vjp_function`, where TensorFlow cannot derive it, takes the arguments and the
    cotangents of the results that are floats, and gives the cotangents of the arguments that are.

    `padded`, where clients may be computed together, takes one more argument, int32, after the others: how many rows
    of the batch (the arguments' first axis where its size is open) are the client's own. Rows of zeros follow them,
    and its results must be what `function` gives for the own rows alone. `apart` says why there is none.
    """

    def __init__(self, function: Any, vjp_function: Any = None, *, padded: Any = None, apart: str = "") -> None:
        self.function = function
        self.vjp_function = vjp_function
        self.padded = padded
        self.apart = apart

    def call(self, *arrays: Any) -> tuple[Any, ...]:
        """The results for NumPy arrays."""
        return _on_arrays(self.function, arrays)

    def vjp(self, *arrays: Any) -> tuple[Any, ...]:
        """The cotangents of the arguments, for NumPy arrays."""
        return _on_arrays(self._vjp, arrays)

    @cached_property
    def _vjp(self) -> Any:
        if self.vjp_function is not None:
            return self.vjp_function
        import tensorflow as tf

        count = len(self.function.input_signature)

        def derived(*leaves: Any) -> list[Any]:
            arguments, cotangents = leaves[:count], leaves[count:]
            by = [leaf for leaf in arguments if leaf.dtype.is_floating]
            with tf.GradientTape() as tape:
                tape.watch(by)
                results = [leaf for leaf in self.function(*arguments) if leaf.dtype.is_floating]
            found = tape.gradient(results, by, list(cotangents), tf.UnconnectedGradients.ZERO)
            return [tf.convert_to_tensor(each) for each in found]

        return tf.function(derived, autograph=False, reduce_retracing=True)


def _on_arrays(function: Any, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    import tensorflow as tf

    return tuple(np.asarray(leaf.numpy()) for leaf in function(*(tf.convert_to_tensor(array) for array in arrays)))


class Fields(dict[str, Any]):
    """A record of tensors, as a function is given one: `x["a"]`, `x.a`, and `x[0]` for the first field."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"the record has no field `{name}`; it has: {', '.join(self)}")

    def __getitem__(self, name: str | int) -> Any:
        return list(self.values())[name] if isinstance(name, int) else super().__getitem__(name)


def extern_of(function: Callable[..., Any], types: tuple[str, ...], name: str) -> Declared:
    """Declares and registers a function of tensors. Its result's type is what TensorFlow says of its outputs."""
    import tensorflow as tf

    names = list(inspect.signature(function).parameters)
    if len(names) != len(types):
        raise errors.wrong_call(name, f"it has {len(names)} parameters, {len(types)} types were given")
    span = line_span(function.__code__.co_filename, function.__code__.co_firstlineno)
    trees = [parse_type(Source(f"<type of {n}>", text)) for n, text in zip(names, types, strict=True)]
    specs = [_spec(tf, written, text) for written, text in zip(trees, types, strict=True)]
    flat = [leaf for spec in specs for leaf in _leaves(spec)]
    structure: list[Any] = []
    inner = tf.function(function)

    def over_leaves(*leaves: Any) -> list[Any]:
        iterator = iter(leaves)
        result = inner(*(_rebuild(spec, iterator) for spec in specs))
        structure[:] = [result]
        return list(_leaves(result))

    traced = tf.function(over_leaves, input_signature=flat, autograph=False)
    traced.get_concrete_function()
    register_extern(name, TensorFlowExtern(traced))
    parameters = tuple(tree.Parameter(tree.Name(n, span), t, None, span) for n, t in zip(names, trees, strict=True))
    result = _type_tree(structure[0], span)
    return Declared(
        tree.ExternDeclaration(tree.Name(name, span), (), parameters, result, inspect.getdoc(function) or "", span),
        {},
        name,
    )


def _spec(tf: Any, written: tree.TypeTree, text: str) -> Any:
    match written:
        case tree.NamedType(name, groups):
            shape = [_size(item, text) for group in groups for item in group]
            return tf.TensorSpec(shape, tf.as_dtype(name.text))
        case tree.RecordType(fields):
            return {name.text: _spec(tf, item, text) for name, item in fields}
        case tree.TupleType(items):
            return tuple(_spec(tf, item, text) for item in items)
    raise errors.wrong_call("tf_computation", f"`{text}` is no type of tensors, records and tuples of them")


def _size(item: tree.TypeArgument, text: str) -> int | None:
    match item:
        case tree.IntegerDim(value):
            return value
        case tree.UnknownDim():
            return None
    raise errors.wrong_call("tf_computation", f"sizes in `{text}` are numbers or `?`")


def _leaves(value: Any) -> list[Any]:
    match value:
        case Mapping() | Record():
            return [leaf for name in sorted(value) for leaf in _leaves(value[name])]
        case tuple() | list() if not hasattr(value, "_asdict"):
            return [leaf for item in value for leaf in _leaves(item)]
    return _leaves(value._asdict()) if hasattr(value, "_asdict") else [value]


def _rebuild(spec: Any, leaves: Any) -> Any:
    match spec:
        case dict():
            found = {name: _rebuild(spec[name], leaves) for name in sorted(spec)}
            return Fields((name, found[name]) for name in spec)
        case tuple():
            return tuple(_rebuild(item, leaves) for item in spec)
    return next(leaves)


def _type_tree(value: Any, span: Span) -> tree.TypeTree:
    """The type of what TensorFlow gave while tracing."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    match value:
        case Mapping():
            return tree.RecordType(
                tuple((tree.Name(name, span), _type_tree(item, span)) for name, item in value.items()), span
            )
        case tuple() | list():
            return tree.TupleType(tuple(_type_tree(item, span) for item in value), span)
    import tensorflow as tf

    tensor = tf.convert_to_tensor(value)
    sizes = tuple(tree.UnknownDim(span) if n is None else tree.IntegerDim(n, span) for n in tensor.shape)
    return tree.NamedType(tree.Name(tensor.dtype.name, span), (sizes,) if sizes else (), span)
