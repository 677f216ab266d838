"""The model's function as text: one line a layer, in the order of the computation.

A value is called `x` where nothing but the next line needs it; one that is needed later is called after its layer. A
layer that does nothing has no line. While training, dropout draws and batch normalisation takes the statistics of the
batch; then the function gives these too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from fedlang.learning.layers import Piece, activate
from fedlang.learning.names import field_name, field_path
from fedlang.learning.specs import Part
from fedlang.learning.text import FieldPath, nest, print_function, print_record, print_seen, print_settle
from fedlang.learning.wiring import INPUT, Step


@dataclass(frozen=True)
class Forward:
    """The model's function: its pieces, where its scores end (`last`: the activation that `predict` puts behind them),
    and the types of all weights."""

    name: str
    steps: tuple[Step, ...]
    pieces: tuple[Piece, ...]
    x: Part
    computes_on: str
    last: str
    types: Mapping[FieldPath, str]

    @property
    def is_random(self) -> bool:
        """Whether training takes a key."""
        return any(piece.draws for piece in self.pieces)

    @property
    def trains_otherwise(self) -> bool:
        """Whether training computes something else than evaluation."""
        return any(piece.training for piece in self.pieces)

    @property
    def statistics(self) -> list[FieldPath]:
        """The weights that training moves without a derivative."""
        pairs = zip(self.steps, self.pieces, strict=True)
        return [field_path((*step.path, name)) for step, piece in pairs for name in piece.seen]

    @property
    def output(self) -> Part:
        """What the model gives for one example."""
        return Part("float32", self.steps[-1].after)

    @property
    def scores(self) -> str:
        """The expression for the scores of `batch`."""
        return f"{self.name}(w, batch.x)"

    @property
    def training_scores(self) -> str:
        """The same while training, by `key`."""
        if not self.trains_otherwise:
            return self.scores
        return f"{self._training}.{self.name}" if self.statistics else self._training

    @property
    def _training(self) -> str:
        return f"training_{self.name}(w, batch.x{', key' if self.is_random else ''})"

    def functions(self) -> Iterator[str]:
        """The declarations: the function, the one for training, `settle` and `predict`, as far as there are such."""
        head, result = f"[n](w: Weights, x: {self.x.with_batch('n')}", self.output.with_batch("n")
        body = _Body(self, is_training=False)
        yield print_function(f"{self.name}{head}) -> {result}", body.lines())
        if self.statistics:
            yield print_seen({path: self.types[path] for path in self.statistics})
        if self.trains_otherwise:
            yield self._training_function(head, result)
        if self.statistics:
            yield print_settle(self.types, self.statistics, f"{self._training}.seen")
        value = activate(self.last, f"{self.name}(w, x)")
        signature = f"predict(w: Weights, x: {self.x.with_batch('?')}) -> {self.output.with_batch('?')}"
        yield print_function(signature, [value])

    def _training_function(self, head: str, result: str) -> str:
        what = [*(["dropout"] if self.is_random else []), *(["statistics of the batch"] if self.statistics else [])]
        key = ", key: Key" if self.is_random else ""
        given = f"{{{self.name}: {result}, seen: Seen}}" if self.statistics else result
        lines = _Body(self, is_training=True).lines()
        doc = f"## The same while training: with {' and '.join(what)}.\n"
        return doc + print_function(f"training_{self.name}{head}{key}) -> {given}", lines)


@dataclass
class _Body:
    """The lines of one function.

    `source` is for each place the step whose value it is: itself, or one before, where the layer does nothing.
    """

    forward: Forward
    is_training: bool
    source: dict[int, int] = field(default_factory=lambda: {INPUT: INPUT})
    names: dict[int, str] = field(default_factory=lambda: {INPUT: "x"})
    moments: dict[int, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """All of them, the result last."""
        found, shown = self._start(), self._shown()
        kept, draws = self._kept(shown), count()
        if INPUT in kept:
            self.names[INPUT] = self._unused("x_inputs")
            found.append(f"let {self.names[INPUT]} = x")
        for k in shown:
            step, piece = self.forward.steps[k], self.forward.pieces[k]
            taken = [self.names[self.source[place]] for place in step.takes]
            words = {"x": taken[0]}
            if self.is_training and piece.draws:
                words["key"] = f"random.at(key, {next(draws)})"
            if self.is_training and piece.moments:
                words["moments"] = self.moments[k] = self._unused(f"{self._name(step)}_moments")
                found.append(f"let {words['moments']} = {piece.moments.format(**words)}")
            self.names[k] = self._unused(f"x_{self._name(step)}") if k in kept else "x"
            found.append(f"let {self.names[k]} = {self._text(piece).format(*taken, **words)}  # {'/'.join(step.path)}")
        return self._ended(found)

    def _start(self) -> list[str]:
        """The line that makes of `x` what the model computes on."""
        forward = self.forward
        return [f"let x = cast[{forward.computes_on}](x)"] if forward.x.dtype != forward.computes_on else []

    def _text(self, piece: Piece) -> str:
        return (self.is_training and piece.training) or activate(piece.activation, piece.value)

    def _shown(self) -> list[int]:
        """The places of steps that do something; finds every source."""
        shown = []
        for k, (step, piece) in enumerate(zip(self.forward.steps, self.forward.pieces, strict=True)):
            does_something = self._text(piece) != "{x}"
            self.source[k] = k if does_something else self.source[step.takes[0]]
            shown += [k] if does_something else []
        return shown

    def _kept(self, shown: list[int]) -> set[int]:
        """The places of values that are needed after the next line."""
        users = [(self.source[place], k) for k in shown for place in self.forward.steps[k].takes]
        following = dict(zip([INPUT, *shown], shown, strict=False))
        return {value for value, user in users if user > following[value]}

    def _name(self, step: Step) -> str:
        return field_name("_".join(step.path))

    def _unused(self, name: str) -> str:
        taken = {*self.names.values(), *self.moments.values()}
        others = (f"{name}_{number}" for number in count(1))
        return name if name not in taken else next(other for other in others if other not in taken)

    def _ended(self, lines: list[str]) -> list[str]:
        """The last line without its name; with the statistics, where there are such."""
        if self.is_training and self.forward.statistics:
            scores = f"let {self.forward.name} = {lines[-1].partition(' = ')[2]}"
            return [*lines[:-1], scores, f"{{{self.forward.name}, seen: {self._seen()}}}"]
        return [*lines[:-1], lines[-1].partition(" = ")[2]] if lines else ["x"]

    def _seen(self) -> str:
        found = {
            field_path((*step.path, name)): text.format(moments=self.moments.get(k))
            for k, (step, piece) in enumerate(zip(self.forward.steps, self.forward.pieces, strict=True))
            for name, text in piece.seen.items()
        }
        return print_record(nest(found))
