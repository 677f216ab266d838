"""Functions of the language that translated layers call: their text, put into the module where a layer needs them."""

from __future__ import annotations

from collections.abc import Mapping

LSTM = """
## What an LSTM layer carries from one time to the next.
type Memory[n, h] = {hidden: float32[n, h], cell: float32[n, h]}

## One time of an LSTM (Hochreiter and Schmidhuber, 1997). The gates lie in Keras's order: input, forget, cell, output.
fn lstm_step[n, i, h](now: Memory[n, h], x: float32[n, i], kernel: float32[i, product(4, h)],
                      recurrent_kernel: float32[h, product(4, h)], bias: float32[product(4, h)]) -> Memory[n, h] {
  let z = x @ kernel + now.hidden @ recurrent_kernel + bias
  let cell = sigmoid(z[:, h:2 * h]) * now.cell + sigmoid(z[:, 0:h]) * tanh(z[:, 2 * h:3 * h])
  {hidden: sigmoid(z[:, 3 * h:4 * h]) * tanh(cell), cell}
}
"""
GRU = """
## One time of a gated recurrent unit (Cho et al., 2014, arXiv:1406.1078), the reset behind the product as in cuDNN.
## The gates lie in Keras's order: update, reset, candidate; `bias` has one row for the input, one for the recurrence.
fn gru_step[n, i, h](now: float32[n, h], x: float32[n, i], kernel: float32[i, product(3, h)],
                     recurrent_kernel: float32[h, product(3, h)], bias: float32[2, product(3, h)]) -> float32[n, h] {
  let a = x @ kernel + bias[0]
  let b = now @ recurrent_kernel + bias[1]
  let update = sigmoid(a[:, 0:h] + b[:, 0:h])
  let reset = sigmoid(a[:, h:2 * h] + b[:, h:2 * h])
  update * now + (1.0 - update) * tanh(a[:, 2 * h:3 * h] + reset * b[:, 2 * h:3 * h])
}
"""
RNN = """
## One time of a plain recurrence (Elman, 1990).
fn rnn_step[n, i, h](now: float32[n, h], x: float32[n, i], kernel: float32[i, h], recurrent_kernel: float32[h, h],
                     bias: float32[h]) -> float32[n, h] {
  tanh(x @ kernel + now @ recurrent_kernel + bias)
}
"""
SEQUENCE = """
## What {article} layer gives at every time.
fn {name}_sequence[n, t, i, h](x: float32[n, t, i], kernel: float32[i, {width}], recurrent_kernel: float32[h, {width}],
                               bias: float32[{bias}]) -> float32[n, t, h] {{
  let start: {state} = zeros()
  let (_, hidden) = scan here in transpose(x, [1, 0, 2]) from start as now {{
    let next = {name}_step(now, here, kernel, recurrent_kernel, bias)
    (next, next{hidden})
  }}
  transpose(hidden, [1, 0, 2])
}}
"""
LAST = """
## What {article} layer gives at the last time.
fn {name}_last[n, t, i, h](x: float32[n, t, i], kernel: float32[i, {width}], recurrent_kernel: float32[h, {width}],
                           bias: float32[{bias}]) -> float32[n, h] {{
  let start: {state} = zeros()
  let end = fold here in transpose(x, [1, 0, 2]) from start as now {{
    {name}_step(now, here, kernel, recurrent_kernel, bias)
  }}
  end{hidden}
}}
"""
_CELLS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "lstm": (
        LSTM,
        {
            "article": "an LSTM",
            "width": "product(4, h)",
            "bias": "product(4, h)",
            "state": "Memory[n, h]",
            "hidden": ".hidden",
        },
    ),
    "gru": (
        GRU,
        {
            "article": "a GRU",
            "width": "product(3, h)",
            "bias": "2, product(3, h)",
            "state": "float32[n, h]",
            "hidden": "",
        },
    ),
    "rnn": (
        RNN,
        {"article": "a recurrent", "width": "h", "bias": "h", "state": "float32[n, h]", "hidden": ""},
    ),
}


def recurrence(name: str, *, sequence: bool) -> tuple[str, ...]:
    """The step of an `lstm`, `gru` or `rnn`, and the loop over all times: `NAME_sequence` or `NAME_last`."""
    step, words = _CELLS[name]
    return step, (SEQUENCE if sequence else LAST).format(name=name, **words)


STANDARDISE = """
## Mean 0 and variance 1 along the last axis (Ba et al., 2016, arXiv:1607.06450).
fn standardise[...s, k](x: float32[...s, k], epsilon: float32) -> float32[...s, k] {
  let centred = x - expand(reduce_mean(x, axis = -1), axis = -1)
  centred * rsqrt(expand(reduce_mean(square(centred), axis = -1), axis = -1) + epsilon)
}
"""
STANDARDISE_GROUPS = """
## Mean 0 and variance 1 in each group of channels, over all places `p` (Wu and He, 2018, arXiv:1803.08494).
fn standardise_groups[n, p, g, c](x: float32[n, p, g, c], gamma: float32[g, c], beta: float32[g, c], epsilon: float32)
    -> float32[n, p, g, c] {
  let mean = expand(reduce_mean(reduce_mean(x, axis = 1), axis = 2), axis = 2)
  let spread = square(x - stop_gradient(expand(mean, axis = 1)))  # a mean's own derivative cancels
  let variance = expand(reduce_mean(reduce_mean(spread, axis = 1), axis = 2), axis = 2)
  let scale = gamma * rsqrt(variance + epsilon)
  x * expand(scale, axis = 1) + expand(beta - mean * scale, axis = 1)
}
"""
SCALE_TO_UNIT = """
## Mean square 1 along the last axis (Zhang and Sennrich, 2019, arXiv:1910.07467).
fn scale_to_unit[...s, k](x: float32[...s, k], epsilon: float32) -> float32[...s, k] {
  x * rsqrt(expand(reduce_mean(square(x), axis = -1), axis = -1) + epsilon)
}
"""
MOMENTS = """
## Mean and variance of each of `c` channels.
type Moments[c] = {mean: float32[c], variance: float32[c]}

## Batch normalisation (Ioffe and Szegedy, 2015, arXiv:1502.03167, algorithm 1) by the moments given.
fn normalise[...s, c](x: float32[...s, c], moments: Moments[c], gamma: float32[c], beta: float32[c], epsilon: float32)
    -> float32[...s, c] {
  let scale = gamma * rsqrt(moments.variance + epsilon)
  x * scale + (beta - moments.mean * scale)
}
"""
BATCH_MOMENTS = """
## The moments of a batch over its examples and all places `p`.
fn batch_moments[n, p, c](x: float32[n, p, c]) -> Moments[c] {
  let mean = reduce_mean(reduce_mean(x, axis = 1), axis = 0)
  let spread = square(x - stop_gradient(mean))  # a mean's own derivative cancels
  {mean, variance: reduce_mean(reduce_mean(spread, axis = 1), axis = 0)}
}
"""
