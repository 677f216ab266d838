"""Keras models as they are: TensorFlow runs their code, the language calls it (`extern fn`).

What has no translation is called: layers of any class, models that branch or have several inputs, every loss and
metric of Keras. The weights are a record all the same, so that every algorithm of the library trains them on every
executor.

Calls are stateless (`keras.Model.stateless_call`): a call gets all it reads and gives back what it changed, and the
model's own variables stay as they are. Of what a model has besides weights that are trained,

- numbers with a fraction that are not trained (moving statistics, frozen layers) are fields of `Weights` without a
  derivative; what a call changes of them comes back as `seen`;
- the states of random generators are set from the key of the step, a different one for each generator;
- whole numbers (counters) keep the value that the model has now, and are never averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from itertools import count
from typing import Any

from fedlang.embed.tensorflow import TensorFlowExtern
from fedlang.learning import errors
from fedlang.learning.metrics import SummedMetric, metrics_of, mixing_metric
from fedlang.learning.names import field_name, field_path, verify_no_clash
from fedlang.learning.objectives import Factors, mixing_loss, objective_of, padded_objective_of
from fedlang.learning.rowwise import mixing
from fedlang.learning.signature import Signature
from fedlang.learning.specs import float_type
from fedlang.learning.text import FieldPath, Module, nest, print_function, print_record, print_seen, print_settle
from fedlang.learning.translation import Translation
from fedlang.run.externs import Lent

SEED = "seed_generator_state"
_numbers = count(1)


def call_model(
    model: Any, loss: Any, spec: Signature, metrics: Sequence[Any] | None, factors: Factors = None
) -> Translation:
    """The module that calls a built model. Raises `DiagnosticError` for metrics whose variables are no sums."""
    calls = Calls(model, spec)
    if not calls.variables:
        raise errors.nothing_to_train(model.name)
    output = calls.output()
    judged = _Judged(calls, loss, factors, metrics_of(metrics, loss, spec.y, output))
    name = f"{field_name(model.name)}_{next(_numbers)}"
    functions = Lent()
    declarations = (
        *_types(calls, judged),
        *_step(name, calls, judged, functions),
        *_judgement(name, calls, judged, output, functions),
    )
    imports = {"learning.evaluation": frozenset({"evaluate"}), "learning.model": frozenset({"count"})}
    return Translation(
        Module(f"The Keras model `{model.name}`, called.", imports, declarations),
        calls.variables,
        settles=bool(calls.seen),
        sums="Sums",
        measure_training=print_function(
            "measure_training(w: Weights, batch: Example[?], key: Key) -> Sums", [f"{name}_step(w, batch, key).sums"]
        ),
        titles={metric.name: metric.name for metric in judged.metrics},
        report={"loss": "float32", **{metric.name: metric.type for metric in judged.metrics}, "examples": "float32"},
        functions=functions,
    )


def by_place(model: Any, given: Any) -> Any:
    """Losses, labels or factors given by the names of outputs that are a list, as Keras takes them: in their order."""
    names = getattr(model, "output_names", None)
    is_list = isinstance(getattr(model, "output", None), list | tuple)
    if is_list and names and isinstance(given, Mapping) and set(given) == set(names):
        return [given[name] for name in names]
    return given


class Calls:
    """A model's variables in their order as leaves, and its stateless calls on them."""

    def __init__(self, model: Any, spec: Signature) -> None:
        self.model = model
        self.spec = spec
        self.variables = _variables(model)
        self.order = sorted(self.variables)
        self.seen = [path for path in self.order if not self.variables[path].trainable]
        self._place = {id(self.variables[path]): k for k, path in enumerate(self.order)}
        taken = signature(model.call).parameters.values()
        self._asks = any(each.name == "training" or each.kind is Parameter.VAR_KEYWORD for each in taken)
        others = (each for each in model.non_trainable_variables if id(each) not in self._place)
        self._kept = {id(variable): variable.numpy() for variable in others}

    @property
    def specs(self) -> list[Any]:
        """What TensorFlow is told of the weights' leaves."""
        import tensorflow as tf

        return [tf.TensorSpec(tuple(self.variables[path].shape), tf.float32) for path in self.order]

    def forward(self, leaves: Sequence[Any], x: Any, key: Any = None) -> tuple[Any, list[Any], list[Any]]:
        """Predictions, the penalties that layers add, and the leaves of `seen`. With a key: as while training."""
        import tensorflow as tf

        trained = [self._given(variable, leaves) for variable in self.model.trainable_variables]
        generators = count()
        others = [
            self._given(variable, leaves)
            if key is None or not _is_seed(variable)
            else _seed(variable, key, next(generators))
            for variable in self.model.non_trainable_variables
        ]
        y, after, penalties = self.model.stateless_call(
            trained, [tf.stop_gradient(each) for each in others], x, return_losses=True, **self._mode(key is not None)
        )
        changed = {
            id(variable): value for variable, value in zip(self.model.non_trainable_variables, after, strict=True)
        }
        seen = [tf.cast(changed[id(self.variables[path])], tf.float32) for path in self.seen]
        return y, list(penalties), seen

    def _mode(self, training: bool) -> dict[str, bool]:
        """What says whether it is training, to a model that wants to know."""
        return {"training": training} if self._asks else {}

    def _given(self, variable: Any, leaves: Sequence[Any]) -> Any:
        """A variable's leaf; what is no leaf has the value of now."""
        import tensorflow as tf

        place = self._place.get(id(variable))
        return tf.constant(self._kept[id(variable)]) if place is None else tf.cast(leaves[place], variable.dtype)

    def output(self) -> Any:
        """The predictions for a batch of unknown size, as TensorFlow specs."""
        import tensorflow as tf

        def predict(*leaves: Any) -> Any:
            return self.forward(leaves[: len(self.order)], self.spec.x_of(leaves[len(self.order) :]))[0]

        traced = tf.function(predict, autograph=False).get_concrete_function(*self.specs, *self.spec.x_specs)
        return tf.nest.map_structure(lambda each: tf.TensorSpec([None, *each.shape[1:]], each.dtype), _outputs(traced))


def _outputs(traced: Any) -> Any:
    return traced.structured_outputs


def _variables(model: Any) -> dict[FieldPath, Any]:
    """The variables of floats, by their paths as fields."""
    found = [each for each in (*model.trainable_variables, *model.non_trainable_variables) if _is_float(each)]
    paths = [tuple(each.path.split("/")) for each in found]
    if all(path[0] == model.name and len(path) > 1 for path in paths):  # as a model that is part of none has them
        paths = [path[1:] for path in paths]
    paths = _told_apart(paths)
    verify_no_clash(paths)
    return {field_path(path): each for path, each in zip(paths, found, strict=True)}


def _told_apart(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Paths of which no two are equal, as those of two layers of one name are: the second layer has `_1` behind it."""
    taken = {path[0] for path in paths}
    names: dict[tuple[str, int], str] = {}
    found: list[tuple[str, ...]] = []
    for k, path in enumerate(paths):
        before = paths[:k].count(path)
        if before and (path[0], before) not in names:
            names[path[0], before] = next(name for number in count(1) if (name := f"{path[0]}_{number}") not in taken)
            taken.add(names[path[0], before])
        found.append((names.get((path[0], before), path[0]), *path[1:]))
    return found


def _without_derivative(predicted: Any) -> Any:
    """Predictions as a constant, with the mask that layers gave them: masked steps count for no metric."""
    import tensorflow as tf

    still = tf.stop_gradient(predicted)
    mask = getattr(predicted, "_keras_mask", None)
    if mask is not None:
        still._keras_mask = mask
    return still


def _is_float(variable: Any) -> bool:
    return "float" in str(variable.dtype)


def _is_seed(variable: Any) -> bool:
    return str(variable.path).endswith(SEED)


def _seed(variable: Any, key: Any, number: int) -> Any:
    """The state of the generator with that number, from a key [2]."""
    import tensorflow as tf

    words = tf.bitwise.bitwise_xor(key, tf.constant([number * 0x9E3779B9 & 0xFFFFFFFF, number], tf.uint32))
    return tf.cast(tf.bitwise.right_shift(words, tf.constant([1, 1], tf.uint32)), variable.dtype)


# ---- the functions that are called ----


@dataclass(frozen=True)
class _Judged:
    """A model with its loss and metrics."""

    calls: Calls
    loss: Any
    factors: Factors
    metrics: tuple[SummedMetric, ...]

    def step(self, *leaves: Any) -> list[Any]:
        """Leaves of the weights, of a batch, and a key, to the mean loss, what was seen, and the sums."""
        return self._step(leaves, None)

    def padded_step(self, *leaves: Any) -> list[Any]:
        """The same of a batch with rows of zeros behind its own; how many are its own comes last."""
        return self._step(leaves[:-1], leaves[-1])

    def measure(self, *leaves: Any) -> list[Any]:
        """Leaves of the weights and of a batch, to sums over its examples, in the order of the fields."""
        return self._measure(leaves, None)

    def padded_measure(self, *leaves: Any) -> list[Any]:
        """The same of a batch with rows of zeros behind its own; how many are its own comes last."""
        return self._measure(leaves[:-1], leaves[-1])

    def _step(self, leaves: Sequence[Any], rows: Any) -> list[Any]:
        weights, batch = leaves[: len(self.calls.order)], leaves[len(self.calls.order) : -1]
        x, y = self.calls.spec.batch_of(batch)
        predicted, penalties, seen = self.calls.forward(weights, x, leaves[-1])
        loss, sums = self._sums(x, y, predicted, penalties, rows)
        return [loss, *seen, *sums]

    def _measure(self, leaves: Sequence[Any], rows: Any) -> list[Any]:
        weights, batch = leaves[: len(self.calls.order)], leaves[len(self.calls.order) :]
        x, y = self.calls.spec.batch_of(batch)
        predicted, penalties, _ = self.calls.forward(weights, x)
        return self._sums(x, y, predicted, penalties, rows)[1]

    def _sums(self, x: Any, y: Any, predicted: Any, penalties: Sequence[Any], rows: Any) -> tuple[Any, list[Any]]:
        """The mean loss; and the leaves of `Sums`. Of all rows, or of the first ones."""
        import tensorflow as tf

        count = tf.shape(tf.nest.flatten(x)[0])[0]
        own = None if rows is None else tf.range(count) < rows
        labels = by_place(self.calls.model, y)
        if own is None:
            judged = objective_of(self.loss, self.factors)(labels, predicted)
        else:
            judged = padded_objective_of(self.loss, self.factors)(labels, predicted, own)
        loss = tf.add_n([judged, *penalties])
        examples = tf.cast(count if rows is None else rows, tf.float32)
        found = {"examples": [examples], "loss": [examples * loss]}
        # What is only reported has no part in the derivative, which it may not have everywhere.
        still = tf.nest.map_structure(_without_derivative, predicted)
        found |= {metric.name: metric.sums(y, still, own) for metric in self.metrics}
        return loss, [leaf for name in sorted(found) for leaf in found[name]]

    def mixing(self, *, training: bool) -> str:
        """What may mix the examples of a batch, and why; "" where rows behind a batch change nothing."""
        model = self.calls.model
        return mixing(model, training=training) or mixing_loss(self.loss) or mixing_metric(self.metrics)

    def finish(self, *leaves: Any) -> list[Any]:
        """The sums over all examples, to means and the metrics' results, in the order of the fields."""
        rest = iter(leaves)
        sizes = {"examples": 1, "loss": 1} | {metric.name: len(metric.fields) for metric in self.metrics}
        sums = {name: [next(rest) for _ in range(sizes[name])] for name in sorted(sizes)}
        examples, loss = sums["examples"][0], sums["loss"][0]
        found = {"examples": [examples], "loss": [loss / examples]}
        found |= {metric.name: metric.results(sums[metric.name]) for metric in self.metrics}
        return [leaf for name in sorted(found) for leaf in found[name]]


def _batched(
    function: Callable[..., Any], padded: Callable[..., Any], specs: Sequence[Any], mixing: str
) -> TensorFlowExtern:
    """A function of batches; its form for padded ones too, where nothing mixes examples."""
    import tensorflow as tf

    form = None if mixing else _traced(padded, [*specs, tf.TensorSpec([], tf.int32)])
    traced = _traced(function, specs)
    traced.get_concrete_function()  # what cannot be traced is said where the model is taken in
    return TensorFlowExtern(traced, padded=form, apart=mixing)


def _traced(function: Callable[..., Any], specs: Sequence[Any]) -> Any:
    import tensorflow as tf

    return tf.function(function, input_signature=list(specs), autograph=False, reduce_retracing=True)


# ---- the module's text ----


def _types(calls: Calls, judged: _Judged) -> Iterator[str]:
    shapes = {path: float_type(variable.shape) for path, variable in calls.variables.items()}
    yield f"type Weights = {print_record(nest(shapes))}"
    yield f"type Example = {print_record(calls.spec.example)}"
    sums = {"loss": "float32", **{metric.name: metric.type for metric in judged.metrics}, "examples": "float32"}
    results = dict.fromkeys(sums, "float32") | {metric.name: metric.result_type for metric in judged.metrics}
    yield f"## Sums over examples.\ntype Sums = {print_record(sums)}"
    yield f"type Measured = {print_record(results)}"
    if calls.seen:
        yield print_seen({path: shapes[path] for path in calls.seen})


def _step(name: str, calls: Calls, judged: _Judged, functions: Lent) -> Iterator[str]:
    import tensorflow as tf

    key = tf.TensorSpec([2], tf.uint32)
    specs = [*calls.specs, *calls.spec.batch_specs, key]
    step = _batched(judged.step, judged.padded_step, specs, judged.mixing(training=True))
    functions.register(f"{name}_step", step)
    result = "{loss: float32, seen: Seen, sums: Sums}" if calls.seen else "{loss: float32, sums: Sums}"
    yield f"extern fn {name}_step(w: Weights, batch: Example[?], key: Key) -> {result}"
    yield print_function(
        "loss(w: Weights, batch: Example[?], key: Key) -> float32", [f"{name}_step(w, batch, key).loss"]
    )
    if calls.seen:
        yield print_settle(calls.variables, calls.seen, f"{name}_step(w, batch, key).seen")


def _judgement(name: str, calls: Calls, judged: _Judged, output: Any, functions: Lent) -> Iterator[str]:
    import tensorflow as tf

    specs = [*calls.specs, *calls.spec.batch_specs]
    measure = _batched(judged.measure, judged.padded_measure, specs, judged.mixing(training=False))
    functions.register(f"{name}_measure", measure)
    functions.register(f"{name}_finish", TensorFlowExtern(_traced(judged.finish, _sum_specs(judged.metrics))))
    yield f"extern fn {name}_measure(w: Weights, batch: Example[?]) -> Sums"
    yield f"extern fn {name}_finish(sums: Sums) -> Measured"
    yield print_function("measure(w: Weights, batch: Example[?]) -> Sums", [f"{name}_measure(w, batch)"])
    yield print_function("finish(sums: Sums) -> Measured", [f"{name}_finish(sums)"])
    yield (
        "fed evaluation(weights: Weights@SERVER, data: <Example[?]*>@CLIENTS) -> Measured@SERVER {\n"
        "  evaluate({measure, finish}, weights, data)\n}"
    )
    if isinstance(output, tf.TensorSpec):
        predict = _traced(_predict(calls), [*calls.specs, *calls.spec.x_specs])
        functions.register(f"{name}_predict", TensorFlowExtern(predict))
        given = f"w: Weights, x: {calls.spec.x_batch}"
        result = f"{output.dtype.name}[{', '.join(map(str, ('?', *output.shape[1:])))}]"
        yield f"extern fn {name}_predict({given}) -> {result}"
        yield print_function(f"predict({given}) -> {result}", [f"{name}_predict(w, x)"])


def _sum_specs(metrics: Sequence[SummedMetric]) -> list[Any]:
    """The leaves of `Sums`, in the order of its fields."""
    import tensorflow as tf

    shapes: dict[str, list[tuple[int, ...]]] = {"examples": [()], "loss": [()]}
    shapes |= {metric.name: list(metric.fields.values()) for metric in metrics}
    return [tf.TensorSpec(shape, tf.float32) for name in sorted(shapes) for shape in shapes[name]]


def _predict(calls: Calls) -> Callable[..., list[Any]]:
    size = len(calls.order)
    return lambda *leaves: [calls.forward(leaves[:size], calls.spec.x_of(leaves[size:]))[0]]
