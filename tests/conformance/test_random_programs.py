"""Programs drawn at random: every executor and strategy finds what the reference finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.run.registry import get_executor

from .random_programs import INPUTS, PARAMETERS, ROWS, program

STRATEGIES = ("vectorised", "blocks", "sequential")
CLIENTS = (4, 1, 3, 4, 2)


def numbers(seed: int) -> tuple[Any, Any]:
    """Weights and clients' data; clients have several numbers of rows."""
    rng = np.random.default_rng(seed)

    def drawn(shape: tuple[Any, ...], rows: int) -> Any:
        return rng.normal(size=[rows if size == "n" else size for size in shape]).astype(np.float32)

    weights = {name[2:]: 0.7 * drawn(shape, 0) for name, shape in PARAMETERS.items()}
    data = [
        {
            **{name[2:]: drawn(shape, n) for name, shape in INPUTS.items()},
            "y": rng.integers(0, ROWS, n).astype(np.int32),
        }
        for n in CLIENTS
    ]
    return weights, data


@pytest.mark.parametrize("seed", range(20))
def test_every_executor_finds_the_same(seed: int) -> None:
    made = fl.loads(program(seed))
    given = numbers(seed)
    expected = made.total.run(given, executor="reference")
    others = {"threaded": "threaded", **{each: get_executor("batched", strategy=each) for each in STRATEGIES}}
    for name, executor in others.items():
        found = made.total.run(given, executor=executor)
        np.testing.assert_allclose(found.value, expected.value, rtol=2e-3, atol=2e-4, err_msg=name)
        for weight, slope in expected.slope.items():
            np.testing.assert_allclose(found.slope[weight], slope, rtol=2e-3, atol=2e-4, err_msg=f"{name}: {weight}")
