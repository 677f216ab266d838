"""JAX: one compiled scan over all batches of all clients, as a centralised loop. `python jax_scan.py WORKLOAD.npz`."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax_models import MODELS
from serve import Answers, load, serve


def batches(task):
    """All batches as two arrays [steps, batch, …] and a mask; the last batch of a client is filled with zeros."""
    parts = []
    for x, y in task.clients:
        for start in range(0, len(x), task.batch):
            part = x[start : start + task.batch], y[start : start + task.batch]
            short = task.batch - len(part[0])
            filled = [np.pad(each, [(0, short)] + [(0, 0)] * (each.ndim - 1)) for each in part]
            parts.append((*filled, np.arange(task.batch) < task.batch - short))
    x, y, mask = (np.stack(each) for each in zip(*parts, strict=True))
    return jnp.asarray(x), jnp.asarray(y), jnp.asarray(mask, jnp.float32)


def main() -> None:
    """Serves rounds."""
    answers = Answers()
    task = load(sys.argv[1])
    loss, data = MODELS[task.model], batches(task)
    weights = [jnp.asarray(each) for each in task.weights]

    @jax.jit
    def train(weights, data):
        def step(w, batch):
            slopes = jax.grad(loss)(w, *batch)
            return [a - task.rate * slope for a, slope in zip(w, slopes, strict=True)], None

        return jax.lax.scan(step, weights, data)[0]

    serve(f"jax {jax.__version__}", lambda: [np.asarray(each) for each in train(weights, data)], answers)


if __name__ == "__main__":
    main()
