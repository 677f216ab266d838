"""From the layers of a Keras model to the text of a module.

The text has `Weights` and `Example`, the model's function (`logits` where the loss is a cross entropy, else `outputs`;
once more as it is while training, where that differs), `predict`, `loss`, and sums of the loss and the metrics for
evaluation. It is printed in the one style and means nothing that is not written there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedlang.learning import errors
from fedlang.learning.forward import Forward
from fedlang.learning.layers import Piece, activate, piece_of
from fedlang.learning.losses import Found, labels_text
from fedlang.learning.names import field_path, verify_no_clash
from fedlang.learning.specs import Part, float_type
from fedlang.learning.text import FieldPath, Module, nest, print_function, print_record
from fedlang.learning.wiring import INPUT, Step
from fedlang.run.externs import Lent


@dataclass(frozen=True)
class Translation:
    """A module, the Keras variable behind each leaf of its `Weights`, and what its declarations are called.

    `sums` is the type that `measure` gives, `measure_training` declares its counterpart with a key, while training,
    where that differs. `functions` are those of Python that it calls. `titles` are Keras's names for the metrics,
    `report` the fields of the sums and their types; `settles` says whether there is a function `settle`.
    """

    module: Module
    variables: Mapping[FieldPath, Any] = field(repr=False)
    settles: bool = False
    sums: str = "Measured"
    measure_training: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    functions: Lent = field(default_factory=Lent, repr=False)


def translate(
    name: str, steps: tuple[Step, ...], x: Part, y: Part, found: Found, metrics: Mapping[str, str]
) -> Translation:
    """The module of a model. Raises `DiagnosticError` for what has no translation."""
    variables = variables_of(name, steps)
    types = {path: float_type(variable.shape) for path, variable in variables.items()}
    forward = _forward(steps, x, variables, types, found)
    imports = {"learning.evaluation": frozenset({"evaluate"}), "learning.model": frozenset({"count"})}
    if forward.is_random:
        imports["random"] = frozenset()
    helpers = dict.fromkeys(helper for piece in forward.pieces for helper in piece.helpers)
    declarations = (
        f"type Weights = {print_record(nest(types))}",
        f"type Example = {{x: {x}, y: {y}}}",
        *helpers,
        *forward.functions(),
        *_judgement(forward, y, found, metrics),
    )
    module = Module(f"The Keras model `{name}`.", imports, declarations)
    report = dict.fromkeys(("loss", *metrics, "examples"), "float32")
    return Translation(
        module,
        variables,
        settles=bool(forward.statistics),
        measure_training=_measure_training(forward, y, found, metrics) if forward.trains_otherwise else "",
        titles={name: name for name in metrics},
        report=report,
    )


# ---- weights ----


def variables_of(name: str, steps: tuple[Step, ...]) -> dict[FieldPath, Any]:
    """The Keras variable of each leaf, in the order of the layers; a layer that is used twice counts once."""
    trained = [step for step in steps if step.weights]
    verify_no_clash(step.path for step in trained)
    found = {field_path((*step.path, weight.name)): weight for step in trained for weight in step.weights}
    if not found:
        raise errors.nothing_to_train(name)
    owners: dict[int, Step] = {}
    for step in trained:
        for weight in step.weights:
            if owners.setdefault(id(weight), step).path != step.path:
                raise errors.unsupported_option("/".join(step.path), step.kind, weight.name, "shared", "its own")
    return found


def _weight(step: Step, variables: Mapping[FieldPath, Any]) -> Callable[[str], str]:
    """The text of a layer's weights. What Keras does not train is a constant to the derivative."""

    def text(name: str) -> str:
        path = field_path((*step.path, name))
        leaf = f"w.{'.'.join(path)}"
        return leaf if variables[path].trainable else f"stop_gradient({leaf})"

    return text


# ---- the model's function ----


def _forward(
    steps: tuple[Step, ...],
    x: Part,
    variables: Mapping[FieldPath, Any],
    types: Mapping[FieldPath, str],
    found: Found,
) -> Forward:
    _verify_embeddings(steps)
    pieces = [piece_of(step, _weight(step, variables)) for step in steps]
    _verify_statistics(steps, pieces)
    loss = found.loss
    is_last = bool(loss.activation) and pieces[-1].activation == loss.activation
    if loss.activation and not is_last and not found.from_logits:
        if _comes_of(loss.activation, steps, pieces):
            last = steps[-1]
            wanted = f"{loss.activation} in the last layer"
            raise errors.unsupported_option("/".join(last.path), last.kind, "output", "probabilities", wanted)
        raise errors.loss_without_activation(loss.name, loss.activation, pieces[-1].activation)
    if is_last:
        pieces[-1] = replace(pieces[-1], activation="linear")
    name = "logits" if loss.activation else "outputs"
    return Forward(name, steps, tuple(pieces), x, first_dtype(steps), loss.activation if is_last else "linear", types)


def _comes_of(activation: str, steps: tuple[Step, ...], pieces: Sequence[Piece]) -> bool:
    """Whether layers without weights make the output of values with this activation: a mean of probabilities, say."""
    waiting, looked_at = [len(steps) - 1], {INPUT}
    while waiting:
        place = waiting.pop()
        if place in looked_at:
            continue
        looked_at.add(place)
        if pieces[place].activation == activation:
            return True
        if not steps[place].weights:
            waiting += steps[place].takes
    return False


def _verify_statistics(steps: tuple[Step, ...], pieces: Sequence[Piece]) -> None:
    """A layer with statistics is called once: two calls would move them twice."""
    moved = [step for step, piece in zip(steps, pieces, strict=True) if piece.seen]
    for place, step in enumerate(moved):
        if any(other.layer is step.layer for other in moved[:place]):
            raise errors.unsupported_option("/".join(step.path), step.kind, "calls", 2, "one call")


def _verify_embeddings(steps: tuple[Step, ...]) -> None:
    """Rows are looked up by whole numbers, and these only the model's input has; then nothing else takes it."""
    first = _first(steps)
    is_looked_up = any(step.kind == "Embedding" for step in first)
    for step in steps:
        if step.kind == "Embedding" and step not in first:
            raise errors.unsupported_option("/".join(step.path), step.kind, "input", "floats", "the model's own input")
        if is_looked_up and step in first and step.kind != "Embedding":
            raise errors.unsupported_option("/".join(step.path), step.kind, "input", "whole numbers", "floats")


def _first(steps: tuple[Step, ...]) -> list[Step]:
    """The layers that compute with the model's input."""
    given, found = {INPUT}, []
    for place, step in enumerate(steps):
        if given.intersection(step.takes):
            if step.kind in ("Flatten", "Identity", "Permute", "Reshape"):
                given.add(place)
            else:
                found.append(step)
    return found


def first_dtype(steps: tuple[Step, ...]) -> str:
    """The dtype that the model computes on: whole numbers for an embedding."""
    return "int32" if any(step.kind == "Embedding" for step in _first(steps)) else "float32"


# ---- loss and metrics ----


def _judgement(forward: Forward, y: Part, found: Found, metrics: Mapping[str, str]) -> list[str]:
    labels = labels_text(found.loss, y.shape, forward.output.shape)

    def mean(expression: str, scores: str) -> str:
        return _mean(forward, labels, expression, scores)

    key = "key" if forward.is_random else "_"
    sums = {"loss": found.loss.value, **metrics}
    fields = ", ".join(f"{name}: float32" for name in (*sums, "examples"))
    finished = [f"{name}: sums.{name} / sums.examples" for name in sums]
    signature = f"loss(w: Weights, batch: Example[?], {key}: Key) -> float32"
    return [
        print_function(signature, [mean(found.loss.value, forward.training_scores)]),
        f"## Sums over examples, or their means once the server has divided them.\ntype Measured = {{{fields}}}",
        print_function(
            "measure(w: Weights, batch: Example[?]) -> Measured",
            _measured(forward, labels, forward.scores, sums),
        ),
        print_function("finish(sums: Measured) -> Measured", [f"{{{', '.join(finished)}, examples: sums.examples}}"]),
        "fed evaluation(weights: Weights@SERVER, data: <Example[?]*>@CLIENTS) -> Measured@SERVER {\n"
        "  evaluate({measure, finish}, weights, data)\n}",
    ]


def _measure_training(forward: Forward, y: Part, found: Found, metrics: Mapping[str, str]) -> str:
    """`measure` of what the model gives while it trains."""
    labels = labels_text(found.loss, y.shape, forward.output.shape)
    key = "key" if forward.is_random else "_"
    return print_function(
        f"measure_training(w: Weights, batch: Example[?], {key}: Key) -> Measured",
        _measured(forward, labels, forward.training_scores, {"loss": found.loss.value, **metrics}),
    )


def _measured(forward: Forward, labels: str, scores: str, sums: Mapping[str, str]) -> list[str]:
    parts = [f"{name}: examples * {_mean(forward, labels, value, 'scores')}" for name, value in sums.items()]
    return [f"let scores = {scores}", "let examples = count(batch)", f"{{{', '.join(parts)}, examples}}"]


def _mean(forward: Forward, labels: str, expression: str, scores: str) -> str:
    predicted = activate(forward.last, scores)
    return f"reduce_mean({expression.format(scores=scores, predicted=predicted, y=labels)})"
