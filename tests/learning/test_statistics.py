"""Programs without gradients: evaluation, k-means, counts of words."""

from __future__ import annotations

import numpy as np
import pytest

from .algorithms import batched, loss_and_gradient, make_clients
from .programs import load

EVALUATION = """
fn judging() -> Evaluation[Weights, Example[?], {loss: float32, right: float32, n: float32}, {loss: float32, accuracy: float32}] {
  {measure: fn (w, batch) => {
     loss: reduce_sum(sparse_softmax_cross_entropy(batch.x @ w.kernel + w.bias, batch.y)),
     right: correct(batch.x @ w.kernel + w.bias, batch.y), n: size(batch)},
   finish: fn (sums) => {loss: sums.loss / sums.n, accuracy: sums.right / sums.n}}
}

fn size[n](batch: Example[n]) -> float32 { cast(n) }

fed judged(w: Weights@SERVER, data: <Example[?]*>@CLIENTS) -> {loss: float32, accuracy: float32}@SERVER {
  evaluate(judging(), w, data)
}
"""


def test_evaluation_is_of_all_examples_together() -> None:
    clients = make_clients([7, 4, 1])
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    found = load(EVALUATION).judged({"kernel": kernel, "bias": bias}, [*batched(clients, 3), []])
    x = np.concatenate([c["x"] for c in clients])
    y = np.concatenate([c["y"] for c in clients])
    from .algorithms import Weights

    loss, _ = loss_and_gradient(Weights(kernel.astype(float), bias.astype(float)), x, y)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(found.accuracy, np.mean(np.argmax(x @ kernel + bias, axis=1) == y), rtol=1e-6)


KMEANS = """
type Sums = {sums: float32[k, d], counts: float32[k]}

fn nearest[k, d](centres: float32[k, d], point: float32[d]) -> int32 {
  arg_min(reduce_sum(square(centres - point), axis = 1))
}

fn assign[k, d](centres: float32[k, d], points: float32[d]*) -> {sums: float32[k, d], counts: float32[k]} {
  fold point in points from {sums: zeros_like(centres), counts: zeros[float32[k]]()} as now {
    let here = cast[float32](one_hot(nearest(centres, point), k))
    {sums: now.sums + expand(here, axis = 1) * point, counts: now.counts + here}
  }
}

fn moved[k, d](centres: float32[k, d], all: {sums: float32[k, d], counts: float32[k]}) -> float32[k, d] {
  let counts = expand(all.counts, axis = 1)
  where(counts + zeros_like(centres) > 0.0, all.sums / max(counts, 1.0), centres)
}

fed step(centres: float32[3, 2]@SERVER, points: <float32[2]*>@CLIENTS) -> float32[3, 2]@SERVER {
  moved(centres, federated_sum(assign(federated_broadcast(centres), points)))
}
""".replace("type Sums = {sums: float32[k, d], counts: float32[k]}\n", "")


def test_k_means_is_lloyds_step() -> None:
    rng = np.random.default_rng(2)
    clients = [rng.normal(size=(n, 2)).astype(np.float32) for n in (9, 5, 0, 13)]
    points = np.concatenate(clients)
    centres = points[:3].copy()
    wanted = centres.astype(np.float64)
    made = load(KMEANS)
    for _ in range(6):
        centres = made.step(centres, clients)
        near = np.argmin(((points[:, None] - wanted) ** 2).sum(axis=-1), axis=1)
        wanted = np.stack([points[near == k].mean(axis=0) if (near == k).any() else wanted[k] for k in range(3)])
        np.testing.assert_allclose(centres, wanted, rtol=1e-5, atol=1e-6)


HITTERS = """
fn sketch(words: string*) -> int32[4, 64] {
  fold word in words from zeros() as now { now + mark(word) }
}

fn mark(word: string) -> int32[4, 64] { one_hot(hash(word, [1, 2, 3, 4]) % 64, 64) }

fed counts(words: <string*>@CLIENTS) -> int32[4, 64]@SERVER { federated_sum(sketch(words)) }

fn count(table: int32[4, 64], word: string) -> int32 { reduce_min(reduce_sum(table * mark(word), axis = 1)) }

fed histogram(words: <string*>@CLIENTS) -> int32[4]@SERVER { federated_sum(tally(words)) }

fn tally(words: string*) -> int32[4] {
  fold word in words from zeros() as now { now + one_hot(lookup(["a", "b", "c"], word), 4) }
}
"""


def test_counts_of_heavy_hitters() -> None:
    made = load(HITTERS)
    words = [["the", "cat", "the"], ["the", "dog"], [], ["cat"]]
    table = made.counts(words)
    assert int(table.sum()) == 4 * 6
    assert [made.count(table, word) for word in ("the", "cat", "dog")] == [3, 2, 1]


def test_counts_by_vocabulary_have_a_place_for_unknown_words() -> None:
    assert load(HITTERS).histogram([["a", "c", "z"], ["a", "?"]]).tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_settings_change_nothing_that_is_compiled(strength: float) -> None:
    made = load("process s(rate: float32 = 0.1) = fedavg(softmax_regression(), client = sgd(rate))\n").s
    data = batched(make_clients([4, 2]), 2)
    still = made.with_settings(rate=strength)
    state = made.initialize(0)
    after = still.next(state, data).state
    assert bool(np.any(after.weights.kernel)) == bool(strength)
    assert still.method("next").program is made.method("next").program
