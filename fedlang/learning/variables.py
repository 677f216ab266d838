"""Functions of a class with variables, without the variables: values in, values out.

    subject = VariableModel(model_fn)
    subject.train(leaves of the weights, ..., of a batch) -> leaves after the step

Where such a function is traced, `model_fn` is called once more, and every `tf.Variable` that is made meanwhile, an
optimizer's too, is one of this call of the function alone: TensorFlow makes its memory when the call begins and takes
it away when it ends. So calls at several clients at once do not see each other, and any TensorFlow code works as it
does outside: loops, `tf.function`s of its own, tapes, optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.learning import errors
from fedlang.learning.interface import BatchOutput, Model, TrainableModel
from fedlang.learning.names import field_name, verify_no_clash
from fedlang.learning.signature import nested_specs
from fedlang.learning.specs import float_type

ANONYMOUS = "cd2c89b7-88b7-44c8-ad83-06c2a9158347"
"""The name by which TensorFlow knows variables that belong to nobody else (`ResourceHandle::ANONYMOUS_NAME`)."""

GROUPS = ("trainable", "non_trainable", "local")


@dataclass(frozen=True)
class Variable:
    """A variable of the class: its field, its name in TensorFlow, its value at the start."""

    field: str
    name: str
    start: NDArray[Any]

    @property
    def type(self) -> str:
        """The type, as text."""
        return float_type(self.start.shape).replace("float32", self.start.dtype.name, 1)


class VariableModel:
    """A class of variables as functions over leaves. Raises `DiagnosticError` for a class that is no `Model`."""

    def __init__(self, model_fn: Callable[[], Any]) -> None:
        self.model_fn = model_fn
        model = model_fn()
        if not isinstance(model, Model):
            raise errors.not_a_model(type(model).__name__)
        self.name = type(model).__name__
        self.trains = isinstance(model, TrainableModel)
        self.output = model.federated_output_computation
        self.variables = {group: _fields(getattr(model, f"{group}_variables")) for group in GROUPS}
        self.batch = nested_specs(model.input_spec)

    # ---- leaves, in the graph's order: records by the names of their fields ----

    def order(self, group: str) -> list[int]:
        """The places of a group's variables, in the order of their fields."""
        fields = [variable.field for variable in self.variables[group]]
        return sorted(range(len(fields)), key=fields.__getitem__)

    def specs(self, *groups: str) -> list[Any]:
        """What TensorFlow is told of the leaves of these groups."""
        import tensorflow as tf

        starts = [self.variables[group][k].start for group in groups for k in self.order(group)]
        return [tf.TensorSpec(start.shape, start.dtype) for start in starts]

    @contextmanager
    def opened(self, leaves: Iterator[Any], groups: Sequence[str]) -> Iterator[Any]:
        """A model of this call's own, its variables set from the leaves; those of no group given as they start."""
        import tensorflow as tf

        with tf.variable_creator_scope(_own_variable):
            model = self.model_fn()
            for group in groups:
                variables = list(getattr(model, f"{group}_variables"))
                for k in self.order(group):
                    variables[k].assign(next(leaves))
            yield model

    def read(self, model: Any, group: str) -> list[Any]:
        """The values that a group's variables have now."""
        variables = list(getattr(model, f"{group}_variables"))
        return [variables[k].read_value() for k in self.order(group)]

    # ---- functions ----

    def train(self, *leaves: Any) -> list[Any]:
        """`train_on_batch`: leaves of all groups and of a batch, to examples, local and trainable leaves."""
        rest = iter(leaves)
        with self.opened(rest, GROUPS) as model:
            output = model.train_on_batch(self.batch.nest_of(rest))
            return [_examples(output), *self.read(model, "local"), *self.read(model, "trainable")]

    def forward(self, *leaves: Any) -> list[Any]:
        """`forward_pass` for evaluation: leaves of all groups and of a batch, to examples and local leaves."""
        rest = iter(leaves)
        with self.opened(rest, GROUPS) as model:
            output = model.forward_pass(self.batch.nest_of(rest), training=False)
            return [_examples(output), *self.read(model, "local")]

    def gradient(self, *leaves: Any) -> list[Any]:
        """Leaves of all groups and of a batch, to examples, the loss's gradient, and local leaves."""
        import tensorflow as tf

        rest = iter(leaves)
        with self.opened(rest, GROUPS) as model:
            variables = list(model.trainable_variables)
            with tf.GradientTape() as tape:
                output = model.forward_pass(self.batch.nest_of(rest))
            slopes = tape.gradient(output.loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            ordered = [tf.convert_to_tensor(slopes[k]) for k in self.order("trainable")]
            return [_examples(output), *ordered, *self.read(model, "local")]

    def report(self, *leaves: Any) -> list[Any]:
        """`report_local_outputs`: leaves of all groups to those of the report."""
        rest = iter(leaves)
        with self.opened(rest, GROUPS) as model:
            return [value for _, value in sorted(_report(model).items())]

    @cached_property
    def report_type(self) -> dict[str, str]:
        """The fields of the report and their types as text, in its own order."""
        import tensorflow as tf

        found: dict[str, str] = {}

        def traced(*leaves: Any) -> list[Any]:
            with self.opened(iter(leaves), GROUPS) as model:
                for name, value in _report(model).items():
                    found[name] = float_type(value.shape).replace("float32", value.dtype.name, 1)
            return []

        tf.function(traced, autograph=False).get_concrete_function(*self.specs(*GROUPS))
        return found


def _fields(variables: Sequence[Any]) -> tuple[Variable, ...]:
    names = [str(variable.name).split(":")[0] for variable in variables]
    verify_no_clash((name,) for name in names)
    return tuple(
        Variable(field_name(name), name, np.asarray(variable.numpy()))
        for name, variable in zip(names, variables, strict=True)
    )


def _report(model: Any) -> Mapping[str, Any]:
    """The report's tensors by the names of their fields."""
    import tensorflow as tf

    found = model.report_local_outputs()
    found = found._asdict() if hasattr(found, "_asdict") else found
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise errors.report_without_names(type(model).__name__, type(found).__name__)
    return {field_name(name): tf.convert_to_tensor(value) for name, value in found.items()}


def _examples(output: BatchOutput) -> Any:
    import tensorflow as tf

    given = getattr(output, "num_examples", None)
    return tf.cast(tf.shape(output.predictions)[0] if given is None else given, tf.float32)


def _own_variable(next_creator: Any, **options: Any) -> Any:
    """Makes a variable of the function that is being traced; outside of one, an ordinary one."""
    import tensorflow as tf
    from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

    if tf.executing_eagerly():
        return next_creator(**options)
    given = options["initial_value"]
    value = tf.convert_to_tensor(given() if callable(given) else given, options.get("dtype"))
    handle = tf.raw_ops.VarHandleOp(dtype=value.dtype, shape=value.shape, shared_name=ANONYMOUS)
    name = options.get("name") or "variable"
    made = BaseResourceVariable(
        trainable=options.get("trainable") is not False,
        shape=value.shape,
        dtype=value.dtype,
        handle=handle,
        handle_name=name,
        unique_id=f"{name}_{handle.name}",
        synchronization=tf.VariableSynchronization.AUTO,
        aggregation=tf.VariableAggregation.NONE,
    )
    made.assign(value)
    return made
