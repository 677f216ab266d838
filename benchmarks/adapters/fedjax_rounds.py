"""FedJAX's own federated averaging, with the backend it takes by itself. `python fedjax_rounds.py WORKLOAD.npz`."""

from __future__ import annotations

import sys
from importlib.metadata import version

import fedjax
import jax
import jax.numpy as jnp
import numpy as np
from jax_models import MODELS
from serve import Answers, load, serve


def main() -> None:
    """Serves rounds."""
    answers = Answers()
    task = load(sys.argv[1])
    loss = MODELS[task.model]

    def gradient(w, batch, _):
        return jax.grad(lambda w: loss(w, batch["x"], batch["y"], jnp.ones(len(batch["x"]))))(w)

    algorithm = fedjax.algorithms.fed_avg.federated_averaging(
        gradient,
        fedjax.optimizers.sgd(task.rate),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=task.batch, num_epochs=1, skip_shuffle=True),
    )
    clients = [
        (f"{k}".encode(), fedjax.ClientDataset({"x": x, "y": y}), key)
        for k, ((x, y), key) in enumerate(
            zip(task.clients, jax.random.split(jax.random.PRNGKey(0), len(task.clients)), strict=True)
        )
    ]
    state = algorithm.init([jnp.asarray(each) for each in task.weights])
    serve(
        f"fedjax {version('fedjax')} with jax {jax.__version__}",
        lambda: [np.asarray(each) for each in algorithm.apply(state, clients)[0].params],
        answers,
    )


if __name__ == "__main__":
    main()
