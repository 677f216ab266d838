"""Programs without masks have the bits of those that have them, also where nothing of a value is a client's own: what a
mask would repeat for each client is repeated without it, so that the same operations run on tensors of the same shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.executors.batched import BatchedExecutor

SHARED = {
    "powers of the step": "{w: now.w + reduce_sum(x) * pow(0.9, now.t), t: now.t + 1.0, q: now.q}",
    "logarithms of it": "{w: now.w + reduce_mean(x) * log(now.t + 1.3), t: now.t + 1.0, q: now.q}",
    "exponentials": "{w: now.w * exp(-0.37 * now.t) + reduce_mean(x), t: now.t + 1.0, q: now.q}",
    "a carry of shared values": "{w: now.w + reduce_mean(x) * now.q, t: now.t, q: log(1.5 + sigmoid(now.q * 0.3))}",
    "a sum of shared rows": "{w: now.w + reduce_mean(x) * reduce_sum(x * 0.0 + now.q), t: now.t, q: now.q * 0.7}",
}
PROGRAM = """
fn local(w: float32, data: float32[?]*) -> {w: float32, t: float32, q: float32} {
  fold x in data from {w, t: 1.0, q: 0.3} as now { STEP }
}
fed f(w: float32@SERVER, data: <float32[?]*>@CLIENTS) -> <{w: float32, t: float32, q: float32}>@CLIENTS {
  local(federated_broadcast(w), data)
}
"""


TWICE = """
fn l(d: float32[?]*) -> float32 {
  fold x in d from 0.0 as s { s + (fold y in d from 0.0 as q { q + reduce_mean(y) + 100.0 * reduce_mean(x) }) }
}
fed f(data: <float32[?]*>@CLIENTS) -> <float32>@CLIENTS { l(data) }
"""


def cohort(sizes: list[int], count: int, seed: int = 0) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=n).astype(np.float32) for n in sizes] for _ in range(count)]


def bits(found: Any) -> list[bytes]:
    return [b"".join(np.asarray(each[name]).tobytes() for name in ("w", "t", "q")) for each in found]


@pytest.mark.parametrize("strategy", ["vectorised", "blocks"])
@pytest.mark.parametrize("step", SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("sizes", [[4] * 9, [3] * 9], ids=["no masks", "masks of rows only"])
def test_a_client_has_the_same_bits_whoever_else_comes(strategy: str, step: str, sizes: list[int]) -> None:
    program, executor = fl.loads(PROGRAM.replace("STEP", step)).f, BatchedExecutor(strategy=strategy)
    alike = cohort(sizes, 12)

    def run(clients: list[list[np.ndarray]]) -> list[bytes]:
        return bits(program.run((np.float32(0.1), clients), executor=executor))

    first = run(alike)
    others = run([*alike, alike[0][:5], [*alike[0][:8], alike[0][8][:2]]])[:12]
    assert first == others == run(alike)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_bits_do_not_depend_on_which_chunk_comes_first(threads: int) -> None:
    program = fl.loads(PROGRAM.replace("STEP", SHARED["powers of the step"])).f
    clients = [*cohort([4] * 9, 40), *cohort([4] * 8 + [2], 8, seed=1), *cohort([4] * 3, 16, seed=2)]
    found = {
        tuple(bits(program.run((np.float32(0.1), clients), executor=executor)))
        for executor in (BatchedExecutor(strategy="blocks", chunk=16, threads=threads) for _ in range(4))
    }
    alone = BatchedExecutor(strategy="vectorised", threads=1)
    assert found == {tuple(bits(program.run((np.float32(0.1), clients), executor=alone)))}


def test_a_loop_over_batches_inside_a_loop_over_the_same() -> None:
    """The two have one name for the size of a batch, and may stand at batches of different sizes."""
    program = fl.loads(TWICE).f
    data = [[np.ones(4, np.float32), np.ones(2, np.float32)], [np.ones(3, np.float32)]]
    said: list[str] = []
    for executor in (BatchedExecutor(strategy="vectorised", notice=said.append), BatchedExecutor(), "reference"):
        assert list(program.run((data,), executor=executor)) == [404.0, 101.0]
    assert said == ["clients run one by one: a loop over batches inside a loop over the same"]
