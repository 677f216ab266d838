"""What is given where something else is taken is said at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.learning import (
    assign_weights,
    assign_weights_to_keras_model,
    build_federated_averaging,
    build_federated_averaging_process,
    build_federated_evaluation,
    build_federated_sgd_process,
    from_keras_model,
)

from .cases import chain, layers


def network() -> Any:
    return chain(layers().Input((4,)), layers().Dense(3))


CASES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "averaging": ("FED1032", build_federated_averaging),
    "evaluation": ("FED1032", build_federated_evaluation),
    "weights": ("FED1032", lambda made: assign_weights(made, {})),
    "averaging process": ("FED1024", build_federated_averaging_process),
    "sgd process": ("FED1024", build_federated_sgd_process),
    "weights of a process": ("FED1002", lambda made: assign_weights_to_keras_model(from_keras_model(made, "mse"), {})),
}


@pytest.mark.parametrize("name", CASES)
def test_a_keras_model_where_a_program_is_taken(name: str) -> None:
    code, call = CASES[name]
    with pytest.raises(fl.DiagnosticError) as error:
        call(network())
    assert error.value.diagnostics[0].code == code
    assert code == "FED1002" or "from_keras_model(network, loss=…)" in error.value.diagnostics[0].hint


@pytest.mark.parametrize("rate", ["0.1", None, True, float("nan"), [0.1]])
@pytest.mark.parametrize("name", ["client_rate", "server_rate", "strength"])
def test_a_rate_that_is_no_number(name: str, rate: Any) -> None:
    with pytest.raises(fl.DiagnosticError, match=rf"FED1033[\s\S]*`{name}`"):
        build_federated_averaging(from_keras_model(network(), "mse"), **{name: rate})


@pytest.mark.parametrize("rate", [1, np.float64(0.1), np.array(0.1)])
def test_a_rate_that_is_a_number(rate: Any) -> None:
    process = build_federated_averaging(from_keras_model(network(), "mse"), client_rate=rate)
    data = [[{"x": np.ones((1, 4), np.float32), "y": np.ones((1, 3), np.float32)}]]
    assert process.next(process.initialize(0), data).metrics.examples == 1


@pytest.mark.parametrize("translate", [None, False])
def test_a_model_of_float64_is_warned_of(translate: bool | None) -> None:
    made = chain(layers().Input((4,)), layers().Dense(3, dtype="float64"))
    with pytest.warns(RuntimeWarning, match="float64; the program keeps and averages them as float32") as found:
        from_keras_model(made, "mse", translate=translate)
    assert found[0].filename == __file__
