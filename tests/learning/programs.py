"""The programs under test: softmax regression with each of the library's algorithms."""

from __future__ import annotations

from functools import cache

import fedlang as fl

HEAD = """
allow collect

import learning.model (Model, model)
import learning.fedavg (fedavg, fedprox)
import learning.optimizers (Optimizer, sgd, momentum, adam, scheduled)
import learning.scaffold (scaffold)
import learning.ditto (ditto)
import learning.evaluation (Evaluation, evaluate)
import aggregators.aggregator (Aggregator, clipping, zeroing, fixed, mean)
import aggregators.median (median)
import privacy.adaptive (quantile, private_mean, gaussian)
import random

type Weights = {kernel: float32[5, 3], bias: float32[3]}
type Example = {x: float32[5], y: int32}

fn loss(w: Weights, batch: Example[?]) -> float32 {
  reduce_mean(sparse_softmax_cross_entropy(batch.x @ w.kernel + w.bias, batch.y))
}

fn softmax_regression() -> Model[Weights, Example[?]] { model(fn (_) => zeros(), loss) }

"""


@cache
def load(text: str) -> fl.Package:
    """The declarations of a text behind the common head."""
    return fl.loads(HEAD + text)


def process(expression: str, settings: str = "") -> fl.Process:
    """A process by its expression."""
    return load(f"process p({settings}) = {expression}\n").p
