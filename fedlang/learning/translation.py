"""From a chain of Keras layers to the text of a module.

The text has `Weights` and `Example`, the model's function (`logits` where the loss is a cross entropy, else `outputs`;
once more with a key where the model has dropout), `predict`, `loss`, and sums of the loss and the metrics for
evaluation. It is printed in the one style and means nothing that is not written there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedlang.learning import errors
from fedlang.learning.layers import Piece, activate, piece_of
from fedlang.learning.losses import Found, labels_text
from fedlang.learning.names import field_path, verify_no_clash
from fedlang.learning.records import FieldPath, nest, print_record
from fedlang.learning.specs import Part, float_type
from fedlang.learning.wiring import Step
from fedlang.source import Source
from fedlang.syntax.parser import parse
from fedlang.syntax.printer import print_module


@dataclass(frozen=True)
class Module:
    """A module's text in parts, so that more can be put beside it."""

    title: str
    imports: Mapping[str, frozenset[str]]
    declarations: tuple[str, ...]
    allows: tuple[str, ...] = ()

    def with_more(
        self, imports: Mapping[str, frozenset[str]], declarations: Iterable[str], allows: tuple[str, ...] = ()
    ) -> Module:
        """This module and more declarations; `allows` is what the file permits those it imports."""
        names = {
            module: self.imports.get(module, frozenset()) | imports.get(module, frozenset())
            for module in {**self.imports, **imports}
        }
        return Module(self.title, names, (*self.declarations, *declarations), (*self.allows, *allows))

    @property
    def text(self) -> str:
        """The text in the one style."""
        lines = [f"allow {what}" for what in self.allows]
        lines += [_import(module, names) for module, names in sorted(self.imports.items())]
        parts = [f"## {self.title}\n" + "\n".join(lines), *(part.strip() for part in self.declarations)]
        return print_module(parse(Source("<keras>", "\n\n".join(parts) + "\n")))


def _import(module: str, names: frozenset[str]) -> str:
    return f"import {module} ({', '.join(sorted(names))})" if names else f"import {module}"


@dataclass(frozen=True)
class Translation:
    """A module, the Keras variable behind each leaf of its `Weights`, and what its declarations are called.

    `sums` is the type that `measure` gives, `measure_training` declares its counterpart with a key, while training,
    where that differs. `titles` are Keras's names for the metrics, `report` the fields of the sums and their types;
    `settles` says whether there is a function `settle`.
    """

    module: Module
    variables: Mapping[FieldPath, Any] = field(repr=False)
    settles: bool = False
    sums: str = "Measured"
    measure_training: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Forward:
    """The model's function: its pieces, where its scores end and what `predict` does to them."""

    name: str
    steps: tuple[Step, ...]
    pieces: tuple[Piece, ...]
    x: Part
    computes_on: str
    last: str

    @property
    def is_random(self) -> bool:
        return any(piece.draws for piece in self.pieces)

    @property
    def output(self) -> Part:
        return Part("float32", self.steps[-1].after)


def translate(
    name: str, steps: tuple[Step, ...], x: Part, y: Part, found: Found, metrics: Mapping[str, str]
) -> Translation:
    """The module of a model. Raises `DiagnosticError` for what has no translation."""
    variables = variables_of(name, steps)
    forward = _forward(steps, x, variables, found)
    imports = {"learning.evaluation": frozenset({"evaluate"}), "learning.model": frozenset({"count"})}
    if forward.is_random:
        imports["random"] = frozenset()
    helpers = dict.fromkeys(helper for piece in forward.pieces for helper in piece.helpers)
    declarations = (
        f"type Weights = {_record_type(variables)}",
        f"type Example = {{x: {x}, y: {y}}}",
        *helpers,
        *_functions(forward),
        *_judgement(forward, y, found, metrics),
    )
    module = Module(f"The Keras model `{name}`.", imports, declarations)
    report = dict.fromkeys(("loss", *metrics, "examples"), "float32")
    training = _measure_training(forward, y, found, metrics) if forward.is_random else ""
    titles = {name: name for name in metrics}
    return Translation(module, variables, measure_training=training, titles=titles, report=report)


# ---- weights ----


def variables_of(name: str, steps: tuple[Step, ...]) -> dict[FieldPath, Any]:
    """The Keras variable of each leaf, in the order of the layers; a layer that is used twice counts once."""
    trained = [step for step in steps if step.layer.weights]
    verify_no_clash(step.path for step in trained)
    found = {field_path((*step.path, weight.name)): weight for step in trained for weight in step.layer.weights}
    if not found:
        raise errors.nothing_to_train(name)
    return found


def _record_type(variables: Mapping[FieldPath, Any]) -> str:
    return print_record(nest({path: float_type(variable.shape) for path, variable in variables.items()}))


def _weight(step: Step, variables: Mapping[FieldPath, Any]) -> Callable[[str], str]:
    """The text of a layer's weights. What Keras does not train is a constant to the derivative."""

    def text(name: str) -> str:
        path = field_path((*step.path, name))
        leaf = f"w.{'.'.join(path)}"
        return leaf if variables[path].trainable else f"stop_gradient({leaf})"

    return text


# ---- the model's function ----


def _forward(steps: tuple[Step, ...], x: Part, variables: Mapping[FieldPath, Any], found: Found) -> _Forward:
    _verify_embeddings(steps)
    pieces = [piece_of(step, _weight(step, variables)) for step in steps]
    loss = found.loss
    is_last = bool(loss.activation) and pieces[-1].activation == loss.activation
    if loss.activation and not is_last and not found.from_logits:
        raise errors.loss_without_activation(loss.name, loss.activation, pieces[-1].activation)
    if is_last:
        pieces[-1] = Piece(pieces[-1].value, helpers=pieces[-1].helpers)
    name = "logits" if loss.activation else "outputs"
    computes_on = "int32" if _first_kind(steps) == "Embedding" else "float32"
    return _Forward(name, steps, tuple(pieces), x, computes_on, loss.activation if is_last else "linear")


def _verify_embeddings(steps: tuple[Step, ...]) -> None:
    """Rows are looked up by whole numbers, and only the model's input is made of them."""
    for place, step in enumerate(steps):
        if step.kind == "Embedding" and _first_kind(steps[:place]):
            raise errors.unsupported_option("/".join(step.path), step.kind, "input", "floats", "the model's own input")


def _first_kind(steps: tuple[Step, ...]) -> str:
    """The kind of the first layer that computes."""
    return next((step.kind for step in steps if step.kind not in ("Flatten", "Reshape")), "")


def first_dtype(steps: tuple[Step, ...]) -> str:
    """The dtype of examples where nothing else says it: whole numbers for an embedding."""
    return "int32" if _first_kind(steps) == "Embedding" else "float32"


def _functions(forward: _Forward) -> list[str]:
    head = f"(w: Weights, x: {forward.x.with_batch('n')}"
    result = forward.output.with_batch("n")
    found = [print_function(f"{forward.name}[n]{head}) -> {result}", _lines(forward, is_training=False))]
    if forward.is_random:
        doc = "## The same while training: with dropout.\n"
        signature = f"training_{forward.name}[n]{head}, key: Key) -> {result}"
        found.append(doc + print_function(signature, _lines(forward, is_training=True)))
    value = activate(forward.last, f"{forward.name}(w, x)")
    signature = f"predict(w: Weights, x: {forward.x.with_batch('?')}) -> {forward.output.with_batch('?')}"
    return [*found, print_function(signature, [value])]


def print_function(signature: str, lines: Iterable[str]) -> str:
    """A function of these lines."""
    return f"fn {signature} {{\n" + "\n".join(f"  {line}" for line in lines) + "\n}"


def _lines(forward: _Forward, *, is_training: bool) -> list[str]:
    """One line a layer that does something, `x` anew each time; a comment gives the layer's name in Keras."""
    lines = [f"let x = cast[{forward.computes_on}](x)"] if forward.x.dtype != forward.computes_on else []
    draws = 0
    for step, piece in zip(forward.steps, forward.pieces, strict=True):
        value = activate(piece.activation, piece.value)
        if is_training and piece.draws:
            value = piece.draws.format(key=f"random.at(key, {draws})")
            draws += 1
        if value != "x":
            lines.append(f"let x = {value}  # {'/'.join(step.path)}")
    return [*lines[:-1], lines[-1].removeprefix("let x = ")] if lines else ["x"]


# ---- loss and metrics ----


def _judgement(forward: _Forward, y: Part, found: Found, metrics: Mapping[str, str]) -> list[str]:
    labels = labels_text(found.loss, y.shape, forward.output.shape)
    plain = f"{forward.name}(w, batch.x)"
    training = f"training_{forward.name}(w, batch.x, key)" if forward.is_random else plain

    def mean(expression: str, scores: str) -> str:
        return _mean(forward, labels, expression, scores)

    key = "key" if forward.is_random else "_"
    sums = {"loss": found.loss.value, **metrics}
    fields = ", ".join(f"{name}: float32" for name in (*sums, "examples"))
    finished = [f"{name}: sums.{name} / sums.examples" for name in sums]
    signature = f"loss(w: Weights, batch: Example[?], {key}: Key) -> float32"
    return [
        print_function(signature, [mean(found.loss.value, training)]),
        f"## Sums over examples, or their means once the server has divided them.\ntype Measured = {{{fields}}}",
        print_function(
            "measure(w: Weights, batch: Example[?]) -> Measured",
            _measured(forward, labels, plain, sums),
        ),
        print_function("finish(sums: Measured) -> Measured", [f"{{{', '.join(finished)}, examples: sums.examples}}"]),
        "fed evaluation(weights: Weights@SERVER, data: <Example[?]*>@CLIENTS) -> Measured@SERVER {\n"
        "  evaluate({measure, finish}, weights, data)\n}",
    ]


def _measure_training(forward: _Forward, y: Part, found: Found, metrics: Mapping[str, str]) -> str:
    """`measure` of what the model gives while it trains."""
    labels = labels_text(found.loss, y.shape, forward.output.shape)
    scores = f"training_{forward.name}(w, batch.x, key)"
    return print_function(
        "measure_training(w: Weights, batch: Example[?], key: Key) -> Measured",
        _measured(forward, labels, scores, {"loss": found.loss.value, **metrics}),
    )


def _measured(forward: _Forward, labels: str, scores: str, sums: Mapping[str, str]) -> list[str]:
    parts = [f"{name}: examples * {_mean(forward, labels, value, 'scores')}" for name, value in sums.items()]
    return [f"let scores = {scores}", "let examples = count(batch)", f"{{{', '.join(parts)}, examples}}"]


def _mean(forward: _Forward, labels: str, expression: str, scores: str) -> str:
    predicted = activate(forward.last, scores)
    return f"reduce_mean({expression.format(scores=scores, predicted=predicted, y=labels)})"
