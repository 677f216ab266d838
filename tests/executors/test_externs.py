"""Functions from Python, as every executor calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.run.externs import register_extern

pytest.importorskip("tensorflow")

EXECUTORS = ("reference", "threaded", "batched")
PROGRAM = """
extern fn NAME(x: float32[2]) -> float32[2]
fed mean(x: <float32[2]>@CLIENTS) -> float32[2]@SERVER { federated_mean(NAME(x)) }
fn summed(x: float32[2]*, zero: float32[2]) -> float32[2] { fold row in x from zero as total { total + NAME(row) } }
fed folded(x: <float32[2]*>@CLIENTS, zero: <float32[2]>@CLIENTS) -> float32[2]@SERVER { federated_mean(summed(x, zero)) }
"""


@dataclass(eq=False)
class Called:
    """A function, as it is registered."""

    call: Callable[..., Any]


def register(name: str, function: Callable[..., Any]) -> None:
    register_extern(name, Called(function))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_function_registered_anew_takes_the_place_of_the_old_one(executor: str) -> None:
    name = f"anew_{executor}"
    program = fl.loads(PROGRAM.replace("NAME", name))
    with fl.executor(executor) as chosen:
        for factor in (1, 10, 3):
            register(name, lambda x, factor=factor: x * np.float32(factor))
            np.testing.assert_array_equal(program.mean([np.ones(2, np.float32)]), [factor, factor])
            found = program.folded([[np.ones(2, np.float32)] * 2], [np.zeros(2, np.float32)])
            np.testing.assert_array_equal(found, [2 * factor, 2 * factor])
        if executor != "reference":
            work = program.mean.program.phases[0].work
            assert chosen.compile_work(work, (True,)) is chosen.compile_work(work, (True,)), "not made ready each time"
