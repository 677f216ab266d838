"""What federated averaging needs to know of a model, as text: `Subject`, of a Keras model or a class of variables.

Both become the same parts: types, a step, a report, a summary; `learning.reporting` in the language does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.embed.decorators import PolymorphicComputation, PythonComputation
from fedlang.embed.origins import Origin
from fedlang.embed.records import Record
from fedlang.embed.tensorflow import TensorFlowExtern
from fedlang.learning import errors
from fedlang.learning.models import KerasModel
from fedlang.learning.names import field_name, verify_no_clash
from fedlang.learning.optimizers import optimizer_of
from fedlang.learning.text import Module, nest, print_function, print_record
from fedlang.learning.variables import GROUPS, VariableModel
from fedlang.learning.wiring import is_keras_model
from fedlang.run.externs import Lent
from fedlang.source import Source
from fedlang.syntax import tree
from fedlang.syntax.parser import Parsed
from fedlang.syntax.printer import print_module
from fedlang.types.types import PlacedType, RecordType, Type

MODEL = "{trainable: Trainable, non_trainable: NonTrainable}"
BY_CLASS = "it is a class of Python with variables of its own"
LEFT_OUT = "clients_left_out"
TAKEN = "t: Trainable, n: NonTrainable"
_numbers = count(1)


@dataclass(frozen=True)
class Subject:
    """A model as parts of a module.

    The module declares the types `Trainable`, `NonTrainable`, `Local`, `Report`; the functions `start`, `step`,
    `gradient` (for federated SGD), `report`, `fine` and `summary`; and `evaluation`. `titles` are the fields' names in
    TensorFlow, `report` the fields of `Report` and their types; `trains` says whether there is a `step`.
    """

    origin: Origin
    module: Module
    trainable: Mapping[str, NDArray[Any]] = field(repr=False)
    non_trainable: Mapping[str, NDArray[Any]] = field(repr=False)
    titles: Mapping[str, str] = field(repr=False)
    report: Mapping[str, Any] = field(repr=False)
    trains: bool = True

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.origin.model

    @property
    def settings(self) -> dict[str, Any]:
        """The weights that a process starts from."""
        return {"trainable": _values(self.trainable), "non_trainable": _values(self.non_trainable)}


def subject_of(model_fn: Any) -> Subject:
    """What `model_fn` gives, as a subject. Raises `DiagnosticError` for what is no model."""
    if not callable(model_fn) or is_keras_model(model_fn):
        raise errors.not_a_model_function(type(model_fn).__name__)
    made = model_fn()
    if isinstance(made, KerasModel):
        return _of_keras(made)
    return _of_class(VariableModel(model_fn))


def _values(values: Mapping[str, Any]) -> Any:
    return Record(dict(values)) if values else ()


def _record(fields: Mapping[str, str]) -> str:
    return print_record(fields) if fields else "()"


def _summary(output: str, before: Iterable[str], results: Mapping[str, str]) -> str:
    """The function of all reports to metrics, with the number of clients that were left out."""
    fields = [f"{name}: {value}" for name, value in results.items()]
    fields.append(f"{LEFT_OUT}: federated_sum(if used {{ 0 }} else {{ 1 }})")
    return print_function(
        "summary(reports: <Report>@CLIENTS, used: <bool>@CLIENTS)",
        [*before, f"let found = {output}", f"{{{', '.join(fields)}}}"],
    ).replace("fn ", "fed ", 1)


# ---- Keras models ----


def _of_keras(model: KerasModel) -> Subject:
    flat = {path: "_".join(path) for path in model.variables}
    verify_no_clash((name,) for name in flat.values())
    trained = [path for path, variable in model.variables.items() if variable.trainable]
    fixed = [path for path in model.variables if path not in trained]
    weights = {path: np.asarray(variable.numpy(), np.float32) for path, variable in model.variables.items()}
    translation = model.translation
    compiled = getattr(model.keras_model, "optimizer", None)
    optimizer, names = optimizer_of(compiled if compiled is not None else "sgd")
    slots = {"sgd": "()", "momentum": "Trainable", "adam": "AdamSlots[Trainable]"}[next(iter(names))]
    shapes = {path: f"float32[{', '.join(map(str, w.shape))}]" if w.shape else "float32" for path, w in weights.items()}
    leaves = {path: f"{'t' if path in trained else 'n'}.{flat[path]}" for path in model.variables}
    results = {field_name(title): f"found.{name}" for name, title in translation.titles.items()}
    results |= {"loss": "found.loss", "num_examples": "found.examples"}
    declarations = (
        f"type Trainable = {_record({flat[path]: shapes[path] for path in trained})}",
        f"type NonTrainable = {_record({flat[path]: shapes[path] for path in fixed})}",
        f"type Local = {{slots: {slots}, sums: {translation.sums}, slope: Trainable}}",
        f"type Report = {translation.sums}",
        print_function(f"whole({TAKEN}) -> Weights", [print_record(nest(leaves))]),
        print_function(
            f"objective({TAKEN}, batch: Example[?], key: Key) -> float32", ["loss(whole(t, n), batch, key)"]
        ),
        *([translation.measure_training] if translation.measure_training else []),
        *_keras_functions(optimizer, is_random=bool(translation.measure_training)),
        _summary("finish(federated_sum(reports))", (), results),
        f"fed evaluation(model: {MODEL}@SERVER, data: <Example[?]*>@CLIENTS) {{\n"
        "  let found = evaluate({measure, finish}, whole(model.trainable, model.non_trainable), data)\n"
        f"  {{{', '.join(f'{name}: {value}' for name, value in results.items())}}}\n}}",
    )
    more = {
        "learning.optimizers": names | ({"AdamSlots"} if "adam" in names else set()),
        "learning.evaluation": frozenset({"evaluate"}),
    }
    kept = [text for text in model.module.declarations if not text.startswith("fed evaluation")]
    module = Module(model.module.title, model.module.imports, tuple(kept), model.module.allows)
    return Subject(
        model.origin,
        module.with_more(more, declarations),
        {flat[path]: weights[path] for path in trained},
        {flat[path]: weights[path] for path in fixed},
        {flat[path]: "/".join(path) for path in model.variables},
        translation.report,
    )


def _keras_functions(optimizer: str, *, is_random: bool) -> Iterator[str]:
    measured = "measure_training(whole(t, n), batch, key)" if is_random else "measure(whole(t, n), batch)"
    head = f"({TAKEN}, local: Local, batch: Example[?], key: Key)"
    result = "{weights: Trainable, local: Local, examples: float32}"
    yield print_function(
        "start(t: Trainable) -> Local",
        [f"{{slots: {optimizer}.init(t), sums: zeros(), slope: zeros()}}"],
    )
    yield print_function(
        f"step{head} -> {result}",
        [
            "let (_, slope) = value_and_grad(objective)(t, n, batch, key)",
            f"let (slots, stepped) = {optimizer}.step(local.slots, t, slope)",
            f"let sums = local.sums + {measured}",
            "{weights: stepped, local: {..local, slots, sums}, examples: count(batch)}",
        ],
    )
    yield print_function(
        f"gradient{head} -> {result}",
        [
            "let (_, slope) = value_and_grad(objective)(t, n, batch, key)",
            f"let sums = local.sums + {measured}",
            "let examples = count(batch)",
            "{weights: t, local: {..local, sums, slope: local.slope + examples * slope}, examples}",
        ],
    )
    yield print_function(
        "mean_slope(_: Trainable, _: Trainable, local: Local) -> Trainable",
        ["-local.slope / max(1.0, local.sums.examples)"],
    )
    yield print_function("report(_: Trainable, _: NonTrainable, local: Local) -> Report", ["local.sums"])
    yield print_function("fine(report: Report) -> bool", ["is_finite(report)"])


# ---- classes of variables ----


def _of_class(model: VariableModel) -> Subject:
    name = f"{field_name(model.name)}_{next(_numbers)}"
    types = {group: _record({each.field: each.type for each in model.variables[group]}) for group in GROUPS}
    output, declared = _output(model)
    names = _fields_of(output.type_signature.result)
    functions = Lent()
    results = {each: f"found.{each}" for each in names} if names else {"value": "found"}
    call = f"{output.declared_name}(reports)"
    declarations = (
        f"type Trainable = {types['trainable']}",
        f"type NonTrainable = {types['non_trainable']}",
        f"type Kept = {types['local']}",
        "type Local = {kept: Kept, slope: Trainable, examples: float32}",
        f"type Batch = {model.batch.type}",
        f"type Report = {print_record(model.report_type)}",
        *_class_functions(name, model, functions),
        declared,
        _summary(call, (), results),
        f"fed evaluation(model: {MODEL}@SERVER, data: <Batch*>@CLIENTS) {{\n"
        "  let here = federated_broadcast(model)\n"
        "  let reports = judge(here.trainable, here.non_trainable, data)\n"
        f"  {call}\n}}",
    )
    imports = {"learning.model": frozenset({"count"})}
    return Subject(
        Origin(model.name, calls=True, reason=BY_CLASS, functions=(functions,)),
        Module(f"The model `{model.name}`, a class of variables.", imports, declarations),
        {each.field: each.start for each in model.variables["trainable"]},
        {each.field: each.start for each in model.variables["non_trainable"]},
        {each.field: each.name for group in GROUPS for each in model.variables[group]},
        model.report_type,
        model.trains,
    )


def _output(model: VariableModel) -> tuple[PythonComputation, str]:
    """The computation of all reports to metrics, and its text with all that it uses."""
    found = model.output
    if isinstance(found, PolymorphicComputation):
        found = found.typed(f"<{print_record(model.report_type)}>@CLIENTS")
    if not isinstance(found, PythonComputation):
        raise errors.not_a_summary(model.name)
    module = tree.Module(Source(f"<{model.name}>", ""), tuple(found.all().values()), "")
    return found, print_module(Parsed(module, (), (), ()))


def _fields_of(type: Type) -> tuple[str, ...]:
    if isinstance(type, PlacedType):
        return _fields_of(type.type)
    return tuple(name for name, _ in type.fields) if isinstance(type, RecordType) else ()


def _class_functions(name: str, model: VariableModel, functions: Lent) -> Iterator[str]:
    import tensorflow as tf

    state, batch = model.specs(*GROUPS), model.batch.specs
    starts = [model.variables["local"][k].start for k in model.order("local")]
    _lend(functions, f"{name}_start", lambda: [tf.constant(start) for start in starts], [])
    _lend(functions, f"{name}_report", model.report, state)
    _lend(functions, f"{name}_forward", model.forward, [*state, *batch])
    _lend(functions, f"{name}_gradient", model.gradient, [*state, *batch])
    taken = f"{TAKEN}, kept: Kept"
    if starts:
        yield f"extern fn {name}_start() -> Kept"
    else:
        yield print_function(f"{name}_start() -> Kept", ["()"])
    yield f"extern fn {name}_report({taken}) -> Report"
    yield f"extern fn {name}_forward({taken}, batch: Batch) -> {{examples: float32, kept: Kept}}"
    yield f"extern fn {name}_gradient({taken}, batch: Batch) -> {{examples: float32, gradient: Trainable, kept: Kept}}"
    head, result = (
        f"({TAKEN}, local: Local, batch: Batch, _: Key)",
        "{weights: Trainable, local: Local, examples: float32}",
    )
    if model.trains:
        _lend(functions, f"{name}_train", model.train, [*state, *batch])
        yield f"extern fn {name}_train({taken}, batch: Batch) -> {{examples: float32, kept: Kept, weights: Trainable}}"
        yield print_function(
            f"step{head} -> {result}",
            [
                f"let done = {name}_train(t, n, local.kept, batch)",
                "{weights: done.weights, local: {..local, kept: done.kept}, examples: done.examples}",
            ],
        )
    yield print_function(
        f"gradient{head} -> {result}",
        [
            f"let done = {name}_gradient(t, n, local.kept, batch)",
            "let slope = local.slope + done.examples * done.gradient",
            "let local = {kept: done.kept, slope, examples: local.examples + done.examples}",
            "{weights: t, local, examples: done.examples}",
        ],
    )
    yield print_function("start(_: Trainable) -> Local", [f"{{kept: {name}_start(), slope: zeros(), examples: 0.0}}"])
    yield print_function(
        "mean_slope(_: Trainable, _: Trainable, local: Local) -> Trainable",
        ["-local.slope / max(1.0, local.examples)"],
    )
    yield print_function(f"report({TAKEN}, local: Local) -> Report", [f"{name}_report(t, n, local.kept)"])
    floats = [field for field, type in model.report_type.items() if "float" in type]
    finite = " and ".join(f"is_finite(report.{each})" for each in floats) or "true"
    yield print_function(f"fine({'report' if floats else '_'}: Report) -> bool", [finite])
    yield print_function(
        f"judge({TAKEN}, batches: Batch*) -> Report",
        [
            f"let start = {{kept: {name}_start(), examples: 0.0}}",
            "let end = fold batch in batches from start as now {",
            f"  let done = {name}_forward(t, n, now.kept, batch)",
            "  {kept: done.kept, examples: now.examples + done.examples}",
            "}",
            f"let found = {name}_report(t, n, end.kept)",
            "if end.examples > 0.0 and fine(found) { found } else { zeros_like(found) }",
        ],
    )


def _lend(functions: Lent, name: str, function: Callable[..., Any], specs: list[Any]) -> None:
    import tensorflow as tf

    functions.register(name, TensorFlowExtern(tf.function(function, input_signature=specs, autograph=False)))
