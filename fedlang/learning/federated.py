"""Federated learning with the interface of TensorFlow Federated's 2019 tutorials.

    process = build_federated_averaging_process(model_fn)
    state = process.initialize()
    state, metrics = process.next(state, [clients' data])

The algorithms are those of `learning.reporting` in the language; here is only what puts a model into them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from fedlang.embed.computations import Computation, Process
from fedlang.embed.iterative import IterativeProcess
from fedlang.embed.loading import Package, package_of
from fedlang.embed.records import Record
from fedlang.embed.tensorflow import TensorFlowExtern
from fedlang.learning import errors
from fedlang.learning.names import field_name
from fedlang.learning.optimizers import optimizer_of
from fedlang.learning.processes import PLAIN_MEAN, aggregator_imports
from fedlang.learning.signature import BatchSpec
from fedlang.learning.spelling import Spelled
from fedlang.learning.subjects import Subject, subject_of
from fedlang.learning.text import print_function
from fedlang.learning.wiring import verify_is_keras
from fedlang.run.externs import Lent
from fedlang.source import Source

_numbers = count(1)
SERVER_RATE, SGD_RATE = 1.0, 0.1
UNNAMED = {"optimizer_state.iterations": "", "iterations": ""}


class LearningProcess(IterativeProcess):
    """Federated learning of one model: `initialize`, `next`, and the names that its weights have in TensorFlow."""

    def __init__(self, process: Process, subject: Subject) -> None:
        super().__init__(process)
        self.tff_names: Mapping[str, str] = {**subject.titles, **UNNAMED}

    @property
    def initialize(self) -> Any:
        """`initialize()` gives the first state. `type_signature.to_tff()` is that of TensorFlow Federated."""
        return Spelled(super().initialize, self.tff_names)

    @property
    def next(self) -> Any:
        """`next(state, data)` gives the next state and metrics. `data` holds each client's batches."""
        return Spelled(super().next, self.tff_names)


def build_federated_averaging_process(
    model_fn: Callable[[], Any],
    server_optimizer_fn: Callable[[], Any] | None = None,
    client_weight_fn: Callable[[Any], Any] | None = None,
    *,
    aggregator: str = PLAIN_MEAN,
    seed: int = 0,
) -> LearningProcess:
    """Federated averaging (McMahan et al., 2017, arXiv:1602.05629) of what `model_fn` makes.

    `model_fn` gives what `from_keras_model` gives, or a `TrainableModel`. A Keras model steps by the optimizer that it
    is compiled with, gradient descent where there is none. `server_optimizer_fn` gives a Keras optimizer (gradient
    descent with rate 1 without); `client_weight_fn` takes a client's report and gives its weight (its number of
    examples without). `aggregator` is an expression of the language, `seed` that of draws at the clients.

    Metrics are of the forward passes before each step. `clients_left_out` among them counts the clients that had no
    examples or whose update was not finite: they change neither weights nor metrics.
    """
    subject = subject_of(model_fn)
    if not subject.trains:
        raise errors.not_trainable(subject.name)
    learner = "{start, step, change: difference, report}"
    return _process(subject, learner, server_optimizer_fn, SERVER_RATE, client_weight_fn, aggregator, seed)


def build_federated_sgd_process(
    model_fn: Callable[[], Any],
    server_optimizer_fn: Callable[[], Any] | None = None,
    client_weight_fn: Callable[[Any], Any] | None = None,
    *,
    aggregator: str = PLAIN_MEAN,
    seed: int = 0,
) -> LearningProcess:
    """Federated SGD (McMahan et al., 2017): clients give the gradient over all their examples, the server steps.

    As `build_federated_averaging_process`; a `Model` is enough. Without `server_optimizer_fn` the rate is 0.1.
    """
    learner = "{start, step: gradient, change: mean_slope, report}"
    subject = subject_of(model_fn)
    return _process(subject, learner, server_optimizer_fn, SGD_RATE, client_weight_fn, aggregator, seed)


def build_evaluation(model_fn: Callable[[], Any]) -> Any:
    """`(state.model, data)` to metrics over all clients' batches; a computation."""
    subject = subject_of(model_fn)
    found = _package(subject.module.text, "evaluation", subject).entry("evaluation")
    assert isinstance(found, Computation)
    return Spelled(found, {**subject.titles, **UNNAMED}, zipped=False)


def _process(
    subject: Subject,
    learner: str,
    server_optimizer_fn: Callable[[], Any] | None,
    rate: float,
    client_weight_fn: Callable[[Any], Any] | None,
    aggregator: str,
    seed: int,
) -> LearningProcess:
    names: frozenset[str] = frozenset()
    server, steps = f"counted_sgd({rate!r})", "fn (state) => cast[int32](state.iterations)"
    if server_optimizer_fn is not None:
        optimizer, names = optimizer_of(server_optimizer_fn())
        is_plain = optimizer.startswith("sgd(")
        server, names = ("counted_" + optimizer, frozenset()) if is_plain else (f"counted({optimizer})", names)
    weigh = "weigh" if client_weight_fn is not None else "fn (_, examples) => examples"
    imports = {
        "learning.reporting": frozenset({"reported_averaging", server.split("(")[0]})
        | (frozenset({"difference"}) if "difference" in learner else frozenset()),
        "learning.optimizers": names,
        **aggregator_imports(aggregator),
    }
    functions = Lent()
    weighs = [] if client_weight_fn is None else list(_weigher(client_weight_fn, subject, functions))
    process = (
        "process trained(trainable: Trainable, non_trainable: NonTrainable, seed: int32 = 0)\n"
        f"  = reported_averaging(trainable, non_trainable, {learner}, fine, {weigh}, summary,\n"
        f"                       {server}, {steps}, seed, {aggregator})"
    )
    allows = ("collect",) if "aggregators.median" in imports else ()
    module = subject.module.with_more({k: v for k, v in imports.items() if v}, [*weighs, process], allows)
    found = _package(module.text, "federated averaging", subject, functions).entry("trained")
    assert isinstance(found, Process)
    return LearningProcess(found.with_settings(seed=seed, **subject.settings), subject)


def _package(text: str, what: str, subject: Subject, functions: Lent | None = None) -> Package:
    """The module, checked. Its programs hold the functions that it calls."""
    origin = subject.origin
    if functions is not None:
        origin = replace(origin, functions=(*origin.functions, functions))
    return package_of(Source(f"<{what} of {subject.name}>", text), None, (origin,))


def _weigher(function: Callable[[Any], Any], subject: Subject, functions: Lent) -> list[str]:
    """`weigh`: the user's function of a report, which TensorFlow runs."""
    import tensorflow as tf

    name = f"{field_name(subject.name)}_weight_{next(_numbers)}"
    spec = BatchSpec(_specs(subject.report))

    def weigh(*leaves: Any) -> list[Any]:
        return [tf.cast(function(spec.nest_of(iter(leaves))), tf.float32)]

    functions.register(name, TensorFlowExtern(tf.function(weigh, input_signature=spec.specs, autograph=False)))
    head = "(report: Report) -> float32"
    return [
        f"extern fn {name}{head}",
        print_function("weigh(report: Report, _: float32) -> float32", [f"{name}(report)"]),
    ]


def _specs(report: Mapping[str, Any]) -> dict[str, Any]:
    """The specs of a report's leaves, from their types as text."""
    import tensorflow as tf

    def spec(type: Any) -> Any:
        if isinstance(type, Mapping):
            return _specs(type)
        dtype, _, sizes = type.rstrip("]").partition("[")
        return tf.TensorSpec([int(size) for size in sizes.split(",")] if sizes else [], dtype)

    return {name: spec(type) for name, type in report.items()}


def assign_weights_to_keras_model(keras_model: Any, weights: Any) -> None:
    """Puts `state.model` of a process into the Keras model it was made from, or into one like it.

    All variables are set or, where names or shapes do not fit, none, and `DiagnosticError` FED1015 is raised.
    """
    verify_is_keras(keras_model)
    given = {**_fields(weights.trainable), **_fields(weights.non_trainable)}
    variables = {_flat(variable, keras_model): variable for variable in keras_model.weights if _is_float(variable)}
    missing = [name for name in variables if name not in given]
    extra = [name for name in given if name not in variables]
    shapes = [
        f"`{name}` has the shape {list(np.shape(given[name]))}, not {list(variable.shape)}"
        for name, variable in variables.items()
        if name in given and np.shape(given[name]) != tuple(variable.shape)
    ]
    if missing or extra or shapes:
        raise errors.weights_do_not_fit(missing, extra, shapes)
    for name, variable in variables.items():
        variable.assign(given[name])


def _fields(record: Any) -> Mapping[str, Any]:
    return record if isinstance(record, Mapping) else {}


def _is_float(variable: Any) -> bool:
    return "float" in str(variable.dtype)


def _flat(variable: Any, model: Any) -> str:
    parts = str(variable.path).split("/")
    return "_".join(field_name(part) for part in (parts[1:] if parts[0] == model.name and len(parts) > 1 else parts))


def state_with_new_model_weights(
    server_state: Record, trainable_weights: Sequence[Any], non_trainable_weights: Sequence[Any] = ()
) -> Record:
    """The state with other weights: arrays in the order of the model's variables.

    Raises `DiagnosticError` FED1015 where number or shapes differ; the state that was given never changes.
    """
    model = server_state.model
    changed = {
        group: _with_values(model[group], given)
        for group, given in (("trainable", trainable_weights), ("non_trainable", non_trainable_weights))
    }
    return server_state.replace(model=Record(changed))


def _with_values(record: Any, values: Sequence[Any]) -> Any:
    fields = _fields(record)
    if len(fields) != len(values):
        raise errors.weights_do_not_fit([], [], [f"there are {len(fields)} weights, {len(values)} were given"])
    arrays = [np.asarray(value, np.asarray(old).dtype) for value, old in zip(values, fields.values(), strict=True)]
    shapes = [
        f"`{name}` has the shape {list(new.shape)}, not {list(np.shape(old))}"
        for (name, old), new in zip(fields.items(), arrays, strict=True)
        if new.shape != np.shape(old)
    ]
    if shapes:
        raise errors.weights_do_not_fit([], [], shapes)
    return Record(dict(zip(fields, arrays, strict=True))) if fields else ()
