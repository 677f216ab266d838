"""The library's algorithms once more, as plain NumPy loops: what the tests compare with. Nothing here is fedlang's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
FEATURES, CLASSES = 5, 3


@dataclass
class Weights:
    """Softmax regression, in float64."""

    kernel: Array
    bias: Array

    def __add__(self, other: Weights) -> Weights:
        return Weights(self.kernel + other.kernel, self.bias + other.bias)

    def __sub__(self, other: Weights) -> Weights:
        return self + other * -1.0

    def __mul__(self, factor: float) -> Weights:
        return Weights(self.kernel * factor, self.bias * factor)

    def map(self, function: Callable[[Array], Array]) -> Weights:
        """The function of each part."""
        return Weights(function(self.kernel), function(self.bias))


def zeros() -> Weights:
    """Where everything starts."""
    return Weights(np.zeros((FEATURES, CLASSES)), np.zeros(CLASSES))


def loss_and_gradient(w: Weights, x: Array, y: Array) -> tuple[float, Weights]:
    """The mean cross entropy of a batch, and its gradient."""
    logits = x.astype(np.float64) @ w.kernel + w.bias
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(probabilities[np.arange(len(y)), y]))
    wrong = (probabilities - np.eye(CLASSES)[y]) / len(y)
    return float(loss), Weights(x.T.astype(np.float64) @ wrong, wrong.sum(axis=0))


Batches = list[tuple[Array, Array]]


def batches(client: dict[str, Array], size: int) -> Batches:
    """A client's batches; the last may be smaller."""
    x, y = client["x"], client["y"]
    return [(x[k : k + size], y[k : k + size]) for k in range(0, len(y), size)]


def train(w: Weights, data: Batches, rate: float, strength: float = 0.0) -> tuple[Weights, int, float]:
    """Gradient descent: the change, the number of examples, and the sum of the losses."""
    now, examples, total = w, 0, 0.0
    for x, y in data:
        loss, gradient = loss_and_gradient(now, x, y)
        distance = np.sum((now - w).kernel ** 2) + np.sum((now - w).bias ** 2)
        total += len(y) * (loss + 0.5 * strength * distance)
        examples += len(y)
        now = now - (gradient + (now - w) * strength) * rate
    return now - w, examples, total


def mean(changes: list[Weights], weights: list[float]) -> Weights:
    """The weighted mean."""
    result = zeros()
    for change, weight in zip(changes, weights, strict=True):
        result = result + change * (weight / sum(weights))
    return result


def fedavg(
    clients: list[dict[str, Array]], size: int, rate: float, rounds: int, strength: float = 0.0
) -> tuple[Weights, list[float]]:
    """McMahan et al., algorithm 1, with every client in every round."""
    w, losses = zeros(), []
    for _ in range(rounds):
        trained = [train(w, batches(client, size), rate, strength) for client in clients]
        losses.append(sum(loss for _, _, loss in trained) / sum(n for _, n, _ in trained))
        w = w + mean([change for change, _, _ in trained], [n for _, n, _ in trained])
    return w, losses


def make_clients(sizes: list[int], seed: int = 3) -> list[dict[str, Array]]:
    """Clients with so many examples."""
    rng = np.random.default_rng(seed)
    return [
        {"x": rng.normal(size=(n, FEATURES)).astype(np.float32), "y": rng.integers(0, CLASSES, n).astype(np.int32)}
        for n in sizes
    ]


def batched(clients: Any, size: int) -> Any:
    """The clients' data as lists of batches, as one hands them to a process."""
    if isinstance(clients, dict):
        return {name: batched([client], size)[0] for name, client in clients.items()}
    return [[{"x": x, "y": y} for x, y in batches(client, size)] for client in clients]
