"""Programs drawn at random: a loss of weights and of a client's rows, and its derivative, summed over clients.

A program is a list of `let`s, each an operation on what came before, of every kind that the language has for tensors:
elementwise, broadcast, products, reductions, shapes, rows by index, convolutions, loops and choices. Sizes are numbers
or `n`, the rows that a client has. Values stay near one, so that executors may be compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Size = int | str
Shape = tuple[Size, ...]

PARAMETERS: dict[str, Shape] = {"w.a": (3, 4), "w.b": (4,), "w.c": (4, 2), "w.k": (2, 2, 2, 3)}
INPUTS: dict[str, Shape] = {"d.x": ("n", 3), "d.i": ("n", 4, 4, 2)}
LABELS = "d.y"  # int32[n], below 3
ROWS = 3  # of `w.a`, which are looked up by labels

UNARY = (
    *("tanh({})", "sigmoid({})", "relu({})", "softplus({})", "sin({})", "gelu({})", "elu({})", "-{}", "abs({})"),
    *("exp(0.3 * tanh({}))", "0.5 * square({})", "sqrt(1.0 + square({}))", "log(1.5 + tanh({}))", "stop_gradient({})"),
)
BINARY = ("{} + {}", "{} - {}", "0.7 * {} * {}", "max({}, {})", "min({}, {})", "{} / (1.5 + abs({}))")


@dataclass
class Draft:
    """A program under way: its lines, and the values there are with their shapes."""

    random: random.Random
    lines: list[str] = field(default_factory=list)
    values: dict[str, Shape] = field(default_factory=lambda: {**PARAMETERS, **INPUTS})
    prefix: str = "v"

    def let(self, text: str, shape: Shape, pattern: str = "{}") -> None:
        """One more value: where `{}` is in the pattern."""
        name = f"{self.prefix}{len(self.lines)}"
        self.lines.append(f"let {pattern.format(name)} = {text}")
        self.values[name] = shape

    def pick(self, fits: Callable[[Shape], bool] = lambda shape: True) -> tuple[str, Shape] | None:
        """A value whose shape fits; later ones are likelier."""
        found = [(name, shape) for name, shape in self.values.items() if fits(shape)]
        return self.random.choices(found, [1 + k for k in range(len(found))])[0] if found else None

    def grow(self) -> None:
        """One operation more, or none where the one drawn fits nothing."""
        self.random.choice(OPERATIONS)(self)


def program(seed: int, steps: int = 12) -> str:
    """The text of a program: `loss`, and `total`, what it and its derivative sum up to over clients."""
    draft = Draft(random.Random(seed))
    while len(draft.lines) < steps:
        draft.grow()
    kept = draft.random.sample(sorted(draft.values), 4)
    last = [name for name in list(draft.values)[-3:] if name not in kept]
    terms = [f"reduce_mean(tanh({name}))" if draft.values[name] else f"tanh({name})" for name in (*kept, *last)]
    body = "\n".join(f"  {line}" for line in draft.lines)
    weights = ", ".join(f"{name[2:]}: {_type(shape)}" for name, shape in PARAMETERS.items())
    data = ", ".join(f"{name[2:]}: {_type(shape)}" for name, shape in INPUTS.items())
    return f"""type W = {{{weights}}}
type D[n] = {{{data}, y: int32[n]}}

fn loss[n](w: W, d: D[n]) -> float32 {{
{body}
  {" + ".join(terms)}
}}

fed total(w: W@SERVER, d: <D[?]>@CLIENTS) {{
  let (value, slope) = value_and_grad(fn (w: W, d: D[?]) => loss(w, d))(federated_broadcast(w), d)
  {{value: federated_sum(value), slope: federated_sum(slope)}}
}}
"""


def _type(shape: Shape) -> str:
    return f"float32[{', '.join(map(str, shape))}]" if shape else "float32"


# ---- operations ----


def _unary(draft: Draft) -> None:
    name, shape = draft.pick() or ("", ())
    draft.let(draft.random.choice(UNARY).format(name), shape)


def _binary(draft: Draft) -> None:
    """Of equal shapes, or one of them spread: a suffix, or 1 where the other has more."""
    name, shape = draft.pick() or ("", ())
    other = draft.pick(lambda each: _spreads(each, shape))
    if other is not None:
        pair = (name, other[0]) if draft.random.random() < 0.5 else (other[0], name)
        draft.let(draft.random.choice(BINARY).format(*pair), shape)


def _spreads(small: Shape, large: Shape) -> bool:
    return len(small) <= len(large) and all(a in (1, b) for a, b in zip(reversed(small), reversed(large), strict=False))


def _product(draft: Draft) -> None:
    a = draft.pick(lambda shape: len(shape) == 2)
    assert a is not None, "weights have two axes"
    turned = draft.random.random() < 0.4
    (name, (rows, inner)) = a
    if turned:
        name, rows, inner = f"transpose({name}, [1, 0])", inner, rows
    b = draft.pick(lambda shape: len(shape) == 2 and inner in shape)
    if b is not None:
        other, (first, second) = b
        if first != inner or (second == inner and draft.random.random() < 0.5):
            other, first, second = f"transpose({other}, [1, 0])", second, first
        draft.let(f"0.5 * ({name} @ {other})" if draft.random.random() < 0.5 else f"{name} @ {other}", (rows, second))


def _stacked_product(draft: Draft) -> None:
    """Products along the last two axes, with axes before them."""
    a = draft.pick(lambda shape: len(shape) > 2)
    b = a and draft.pick(lambda shape: len(shape) == 2 and shape[0] == a[1][-1])
    if a and b:
        draft.let(f"{a[0]} @ {b[0]}", (*a[1][:-1], b[1][1]))


def _reduction(draft: Draft) -> None:
    found = draft.pick(lambda shape: len(shape) > 0)
    assert found is not None, "weights have axes"
    name, shape = found
    axis = draft.random.randrange(len(shape))
    given = axis if draft.random.random() < 0.7 else axis - len(shape)
    kind = draft.random.choice(("reduce_mean", "reduce_mean", "reduce_max", "reduce_min", "0.2 * reduce_sum"))
    draft.let(f"{kind}({name}, axis = {given})", (*shape[:axis], *shape[axis + 1 :]))


def _along(draft: Draft) -> None:
    """What keeps a shape and goes along an axis."""
    found = draft.pick(lambda shape: len(shape) > 0)
    assert found is not None, "weights have axes"
    name, shape = found
    axis = draft.random.randrange(len(shape))
    kinds = [f"softmax({name})", f"0.3 * log_softmax({name})", f"reverse({name})"]
    kinds.append(f"0.3 * cumulative_sum({name}, axis = {axis})")
    if shape[0] != "n":
        kinds.append(f"sort({name})")
    draft.let(draft.random.choice(kinds), shape)


def _turned(draft: Draft) -> None:
    found = draft.pick(lambda shape: len(shape) > 1)
    assert found is not None, "weights have axes"
    name, shape = found
    order = draft.random.sample(range(len(shape)), len(shape))
    draft.let(f"transpose({name}, {order})", tuple(shape[k] for k in order))


def _reshaped(draft: Draft) -> None:
    """Numbers in another shape: `n` stays where it is, what is before and behind it is laid out anew."""
    name, shape = draft.pick() or ("", ())
    parts: list[Size] = []
    for run in _runs(shape):
        parts += run if run == ["n"] else _factors(draft.random, run)
    draft.let(f"reshape({name}, [{', '.join(map(str, parts))}])", tuple(parts))


def _runs(shape: Shape) -> Iterator[list[Size]]:
    run: list[Size] = []
    for size in shape:
        if size == "n":
            yield run
            yield ["n"]
            run = []
        else:
            run.append(size)
    yield run


def _factors(chance: random.Random, sizes: list[Size]) -> list[Size]:
    total = 1
    for size in sizes:
        assert isinstance(size, int), "the number of rows is a run of its own"
        total *= size
    found: list[Size] = []
    while total > 1 and len(found) < 3:
        size = chance.choice([k for k in range(2, total + 1) if total % k == 0])
        found.append(size)
        total //= size
    return [*found, total] if total > 1 or (sizes and not found) else found


def _expanded(draft: Draft) -> None:
    name, shape = draft.pick(lambda shape: len(shape) < 4) or ("", ())
    axis = draft.random.randint(0, len(shape))
    draft.let(f"expand({name}, axis = {axis})", (*shape[:axis], 1, *shape[axis:]))


def _sliced(draft: Draft) -> None:
    found = draft.pick(lambda shape: any(isinstance(size, int) and size > 1 for size in shape))
    assert found is not None, "weights have axes"
    name, shape = found
    axis = draft.random.choice([k for k, size in enumerate(shape) if isinstance(size, int) and size > 1])
    size = shape[axis]
    assert isinstance(size, int), "it was chosen so"
    before = ", ".join([":"] * axis + [""])
    start = draft.random.randrange(size)
    if draft.random.random() < 0.4:
        draft.let(f"{name}[{before}{start}]", (*shape[:axis], *shape[axis + 1 :]))
        return
    stop = draft.random.randint(start + 1, size)
    draft.let(f"{name}[{before}{start}:{stop}]", (*shape[:axis], stop - start, *shape[axis + 1 :]))


def _joined(draft: Draft) -> None:
    a = draft.pick(lambda shape: bool(shape) and isinstance(shape[0], int) and shape[0] < 8)
    b = a and draft.pick(lambda shape: bool(shape) and isinstance(shape[0], int) and shape[1:] == a[1][1:])
    if a and b:
        first, second = a[1][0], b[1][0]
        assert isinstance(first, int), "it was chosen so"
        assert isinstance(second, int), "it was chosen so"
        draft.let(f"concat({a[0]}, {b[0]})", (first + second, *a[1][1:]))


def _looked_up(draft: Draft) -> None:
    found = draft.pick(lambda shape: bool(shape) and shape[0] == ROWS)
    if found is not None:
        draft.let(f"gather({found[0]}, {LABELS})", ("n", *found[1][1:]))


def _told_apart(draft: Draft) -> None:
    found = draft.pick(lambda shape: len(shape) == 2 and shape[0] == "n" and shape[1] == ROWS)
    if found is not None:
        kinds = [f"0.3 * sparse_softmax_cross_entropy({found[0]}, {LABELS})"]
        kinds.append(f"reduce_sum({found[0]} * cast[float32](one_hot({LABELS}, {ROWS})), axis = -1)")
        draft.let(draft.random.choice(kinds), ("n",))


def _chosen(draft: Draft) -> None:
    name, shape = draft.pick() or ("", ())
    others = [each for each, own in draft.values.items() if own == shape]
    a, b = draft.random.choice(others), draft.random.choice(others)
    draft.let(f"where({name} > 0.1, {a}, {b})", shape)


def _convolved(draft: Draft) -> None:
    image = draft.pick(lambda s: len(s) == 4 and s[0] == "n" and s[3] == 2 and all(isinstance(k, int) for k in s[1:]))
    if image is None:
        return
    name, (_, height, width, _) = image
    assert isinstance(height, int), "it was chosen so"
    assert isinstance(width, int), "it was chosen so"
    if draft.random.random() < 0.6 or min(height, width) < 2:
        draft.let(f"conv2d({name}, w.k)", ("n", height, width, 3))
    else:
        draft.let(f"conv2d_valid({name}, w.k)", ("n", height - 1, width - 1, 3))


def _pooled(draft: Draft) -> None:
    image = draft.pick(lambda s: len(s) == 4 and s[0] == "n" and all(isinstance(k, int) and k > 1 for k in s[1:3]))
    if image is not None:
        name, (_, height, width, channels) = image
        assert isinstance(height, int), "it was chosen so"
        assert isinstance(width, int), "it was chosen so"
        kind = draft.random.choice(("max_pool", "average_pool"))
        draft.let(f"{kind}({name}, 2)", ("n", height // 2, width // 2, channels))


def _loop(draft: Draft) -> None:
    """Over the first axis of a value, with a state like one of its rows or like another value, and an output or none."""
    found = draft.pick(lambda shape: len(shape) > 1)
    assert found is not None, "weights have axes"
    name, shape = found
    start, state = draft.pick(lambda each: len(each) < 3) or ("", ())
    inner = Draft(
        draft.random, [], {**draft.values, "row": shape[1:], "now": state}, f"{draft.prefix}{len(draft.lines)}_"
    )
    for _ in range(draft.random.randint(1, 4)):
        draft.random.choice(SIMPLE)(inner)
    ends = [each for each, own in inner.values.items() if own == state]
    following = f"0.5 * now + 0.4 * tanh({draft.random.choice(ends[-3:])})"
    lines = "".join(f"    {line}\n" for line in inner.lines)
    if draft.random.random() < 0.5:
        draft.let(f"fold row in {name} from {start} as now {{\n{lines}    {following}\n  }}", state)
        return
    output, own = inner.pick() or ("", ())
    text = f"scan row in {name} from {start} as now {{\n{lines}    ({following}, {output})\n  }}"
    if draft.random.random() < 0.5:
        draft.let(text, state, "({}, _)")
    else:
        draft.let(text, (shape[0], *own), "(_, {})")


def _choice(draft: Draft) -> None:
    name, shape = draft.pick() or ("", ())
    others = [each for each, own in draft.values.items() if own == shape]
    condition = draft.pick(lambda each: each == ())
    tested = condition[0] if condition else f"reduce_mean({draft.random.choice(list(INPUTS))})"
    draft.let(
        f"if {tested} > 0.05 {{ tanh({name}) }} else {{ {draft.random.choice(others)} - 0.5 * {name} }}",
        shape,
    )


SIMPLE: tuple[Callable[[Draft], None], ...] = (
    *(_unary, _unary, _binary, _binary, _product, _product, _reduction, _along, _turned, _reshaped, _expanded),
    *(_sliced, _joined, _looked_up, _told_apart, _chosen, _stacked_product, _pooled, _convolved),
)
OPERATIONS: tuple[Callable[[Draft], None], ...] = (*SIMPLE, _loop, _choice)
