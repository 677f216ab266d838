"""What is measured: our executors, Keras models brought in, and one centralised compiled loop.

A contender says whether it takes part in a workload, and makes a runner for it; a runner runs one round when asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

import numpy as np

from benchmarks.adapters.serve import norm
from benchmarks.workloads import Arrays, Workload, leaves
from fedlang.data import ClientData
from fedlang.learning import build_federated_averaging, from_keras_model
from fedlang.run.registry import get_executor


@dataclass(frozen=True)
class Turn:
    """Seconds that a round took, and the norm of the weights it gave."""

    wall: float
    cpu: float
    norm: float


class Runner(Protocol):
    """A contender made ready for a workload."""

    @property
    def version(self) -> str:
        """What runs, with its version."""

    def run_round(self) -> Turn:
        """Runs one round, from the workload's weights."""

    def close(self) -> None:
        """Ends what was started."""


class Contender(Protocol):
    """Something that runs rounds."""

    @property
    def name(self) -> str:
        """How it is called in tables and targets."""

    def missing(self, workload: Workload) -> str | None:
        """Why it does not take part, if so."""

    def prepare(self, workload: Workload) -> Runner:
        """A runner; compiles nothing that the first round of a user would not compile."""


@dataclass(frozen=True)
class Here:
    """A function of this process that runs a round and gives the new weights."""

    function: Callable[[], Arrays]
    version: str = ""

    def run_round(self) -> Turn:
        """A round, timed by this process's clocks."""
        wall, cpu = time.perf_counter(), time.process_time()
        weights = self.function()
        return Turn(time.perf_counter() - wall, time.process_time() - cpu, norm(weights))

    def close(self) -> None:
        """Nothing was started."""


@dataclass(frozen=True)
class OnExecutor:
    """The workload's program on one of our executors, for these models, or for all.

    `shuffled`: in each round the clients' examples are in another order.
    """

    name: str
    executor: str
    options: dict[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    shuffled: bool = False

    def missing(self, workload: Workload) -> str | None:
        """Executors that take minutes for a model are left out."""
        if self.models is not None and workload.model.name not in self.models:
            return "left out: minutes a round"
        return None

    def prepare(self, workload: Workload) -> Runner:
        """Rounds of the program's process."""
        process, executor = workload.process, get_executor(self.executor, **self.options)
        state, data = process.initialize(0), workload.data.batches(workload.batch)
        seeds = count()

        def run() -> Arrays:
            own = workload.data.batches(workload.batch, shuffle_seed=next(seeds)) if self.shuffled else data
            return leaves(process.run_round(state, (own,), executor=executor).state.weights)

        return Here(run)


@dataclass(frozen=True)
class FromKeras:
    """The same model as Keras layers, brought in by `from_keras_model`, on the executor `batched`."""

    name: str
    translate: bool

    def missing(self, workload: Workload) -> str | None:
        """Takes part in all workloads."""
        return None

    def prepare(self, workload: Workload) -> Runner:
        """Rounds of the library's federated averaging, from the same weights."""
        import keras

        network = keras.Sequential(workload.model.layers(keras))
        network.set_weights(workload.weights)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model = from_keras_model(network, loss, translate=self.translate)
        process = build_federated_averaging(model, client_rate=workload.rate)
        state, executor = process.initialize(0), get_executor("batched")

        def renamed(given: Any) -> dict[str, Any]:
            """The fields as Keras calls them."""
            return dict(zip("xy", (given[f] for f in workload.model.fields), strict=True))

        given = workload.data  # renamed here: what `map` gives is made anew in each round
        data = ClientData.from_dict({client: renamed(given.examples(client)) for client in given})
        batches = data.batches(workload.batch)
        return Here(lambda: leaves(process.run_round(state, (batches,), executor=executor).state.weights))


@dataclass(frozen=True)
class Centralised:
    """Gradient descent over all batches of all clients, one after the other, in one compiled TensorFlow loop."""

    name: str = "centralised"

    def missing(self, workload: Workload) -> str | None:
        """Takes part in all workloads."""
        return None

    def prepare(self, workload: Workload) -> Runner:
        """Runs of the loop, with as many threads inside an operation as our executors take: one."""
        from fedlang.executors.tensorflow.start import tf

        first, second = (tf.constant(np.concatenate(each)) for each in zip(*workload.clients, strict=True))
        splits, steps = tf.constant(_ends(workload), tf.int32), workload.steps

        def loop(*weights: Any) -> Any:
            def step(t: Any, *w: Any) -> tuple[Any, ...]:
                rows = slice(splits[t], splits[t + 1])
                with tf.GradientTape() as tape:
                    tape.watch(w)
                    value = workload.model.loss(tf, list(w), first[rows], second[rows])
                slopes = [tf.convert_to_tensor(slope) for slope in tape.gradient(value, w)]
                return t + 1, *(a - workload.rate * slope for a, slope in zip(w, slopes, strict=True))

            return tf.while_loop(lambda t, *_: t < steps, step, (tf.constant(0), *weights))[1:]

        given, compiled = [tf.constant(each) for each in workload.weights], tf.function(loop, autograph=False)
        return Here(lambda: [each.numpy() for each in compiled(*given)], f"tensorflow {tf.__version__}")


def _ends(workload: Workload) -> list[int]:
    ends, start = [0], 0
    for size in workload.sizes:
        ends += [start + min(at + workload.batch, size) for at in range(0, size, workload.batch)]
        start += size
    return ends


OURS: tuple[Contender, ...] = (
    Centralised(),
    OnExecutor("batched", "batched"),
    OnExecutor("batched, vectorised", "batched", {"strategy": "vectorised"}, ("softmax",)),
    OnExecutor("batched, blocks", "batched", {"strategy": "blocks"}, ("softmax", "lstm")),
    OnExecutor("batched, sequential", "batched", {"strategy": "sequential"}),
    OnExecutor("batched, shuffled", "batched", {}, ("softmax",), shuffled=True),
    OnExecutor("threaded", "threaded"),
    OnExecutor("reference", "reference", {}, ("softmax",)),
    FromKeras("keras, translated", translate=True),
    FromKeras("keras, called", translate=False),
)
