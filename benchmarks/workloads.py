"""The workloads: a model, the clients' sizes, batches, a rate, and the targets they are held to.

A round is one epoch of gradient descent at each client and the mean of their weights by examples. Data are random, made
from a seed; so is the order: nothing is shuffled, so that all contenders take the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import fedlang as fl
from benchmarks.models import CNN, LSTM, SOFTMAX, Model
from benchmarks.rows import Target
from fedlang.data.clients import ClientData

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Workload:
    """What is trained, on what. `clients` (x, y) and `weights`, where each round starts, are made when asked for."""

    name: str
    title: str
    model: Model
    sizes: tuple[int, ...]
    batch: int
    rate: float
    targets: tuple[Target, ...] = field(default=(), repr=False)

    @property
    def steps(self) -> int:
        """Steps of gradient descent in a round."""
        return sum(-(-size // self.batch) for size in self.sizes)

    @cached_property
    def clients(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each client's examples."""
        random = np.random.default_rng(1)
        return [self.model.examples(random, size) for size in self.sizes]

    @cached_property
    def data(self) -> ClientData:
        """The same as client data, by the names the program gives them."""
        return ClientData.from_list([dict(zip(self.model.fields, each, strict=True)) for each in self.clients])

    @cached_property
    def process(self) -> fl.Process:
        """The program."""
        return self.model.load().with_settings(rate=self.rate)

    @cached_property
    def weights(self) -> Arrays:
        """The weights that every round starts from."""
        return leaves(self.process.initialize(0).weights)

    def save(self, path: Path) -> None:
        """Writes what an adapter needs."""
        x, y = (np.concatenate(each) for each in zip(*self.clients, strict=True))
        weights = {f"w{k}": each for k, each in enumerate(self.weights)}
        about = {"model": self.model.name, "batch": self.batch, "rate": self.rate, "sizes": self.sizes}
        arrays = {**{name: np.asarray(value) for name, value in about.items()}, "x": x, "y": y, **weights}
        np.savez(path, allow_pickle=False, **arrays)

    def smaller(self, clients: int) -> Workload:
        """The same with at most so many clients; it has no targets."""
        return replace(self, sizes=self.sizes[:clients], targets=())


def leaves(record: Any) -> Arrays:
    """The arrays in a record, in its order."""
    if hasattr(record, "items"):
        return [leaf for _, value in record.items() for leaf in leaves(value)]
    return [np.asarray(record)]


def unequal(count: int, mean: float, deviation: float) -> tuple[int, ...]:
    """Log-normal sizes of that mean (0.5 % off at most), from 1 to 20 times it."""
    middle = np.log(mean) - deviation**2 / 2
    drawn = np.random.default_rng(0).lognormal(middle, deviation, count)
    return tuple(int(size) for size in np.clip(np.rint(drawn * (mean / drawn.mean())), 1, 20 * mean))


TRANSLATED = Target("keras, translated", over="batched", at_most=1.1)
CALLED = Target("keras, called", over="batched", at_most=1.5)

WORKLOADS = (
    Workload(
        "softmax50",
        "softmax 784-10, 50 clients of 60, batches of 10",
        SOFTMAX,
        (60,) * 50,
        10,
        0.1,
        (
            Target("batched", over="centralised", at_most=0.45),
            Target("fedjax", over="batched", at_least=6.0),
            Target("pfl", over="batched", at_least=15.0),
            TRANSLATED,
            CALLED,
        ),
    ),
    Workload(
        "softmax1000",
        "softmax 784-10, 1,000 clients of 97 on average, batches of 20",
        SOFTMAX,
        unequal(1000, 97, 0.5),
        20,
        0.1,
        (Target("batched", at_most=0.25), Target("tff", over="batched", at_least=100.0), TRANSLATED, CALLED),
    ),
    Workload(
        "cnn",
        "CIFAR CNN of 1,626,442 parameters, 50 clients of 50, batches of 10",
        CNN,
        (50,) * 50,
        10,
        0.1,
        (
            Target("batched", over="centralised", at_most=0.95),
            Target("pfl", over="batched", at_least=1.0),
            TRANSLATED,
            CALLED,
        ),
    ),
    Workload(
        "lstm",
        "character LSTM of 256, 10 clients of 40 texts of 80, batches of 10",
        LSTM,
        (40,) * 10,
        10,
        0.5,
        (Target("batched", over="centralised", at_most=1.1), TRANSLATED, CALLED),
    ),
)
