"""Algorithms that keep something at each client: SCAFFOLD, Ditto."""

from __future__ import annotations

from typing import Any

import numpy as np

from .algorithms import Weights, batched, batches, loss_and_gradient, make_clients, mean, train, zeros
from .programs import process
from .test_averaging import assert_weights

SIZES = {"a": 7, "b": 4, "c": 2, "d": 9}
COHORTS = (("a", "b", "c"), ("d", "a"), ("c", "d", "b"))


def clients() -> dict[str, Any]:
    return dict(zip(SIZES, make_clients(list(SIZES.values())), strict=True))


def test_scaffold_is_algorithm_1_with_changing_cohorts() -> None:
    data, rate = clients(), 0.1
    made = process("scaffold(softmax_regression(), 0.1, 4.0, server_rate = 0.7)")
    state = made.initialize(0)
    w, control, own = zeros(), zeros(), {name: zeros() for name in SIZES}
    for cohort in COHORTS:
        state = made.next(state, batched({name: data[name] for name in cohort}, 3)).state
        deltas, changes = [], []
        for name in cohort:
            now, steps = w, batches(data[name], 3)
            for x, y in steps:
                now = now - (loss_and_gradient(now, x, y)[1] - own[name] + control) * rate
            new = own[name] - control + (w - now) * (1 / (len(steps) * rate))
            deltas.append(now - w)
            changes.append(new - own[name])
            own[name] = new
        w = w + mean(deltas, [1.0] * len(cohort)) * 0.7
        control = control + sum(changes, zeros()) * (1 / 4)
    assert_weights(state.weights, w)
    assert_weights(state.control, control)
    for name in SIZES:
        assert_weights(state.own[name], own[name])


def test_a_client_without_batches_keeps_its_control() -> None:
    made = process("scaffold(softmax_regression(), 0.1, 4.0)")
    state = made.initialize(0)
    state = made.next(state, {"a": batched(make_clients([4]), 2)[0], "b": []}).state
    assert not state.own["b"].kernel.any()
    assert state.own["a"].kernel.any()


def test_ditto_keeps_a_model_for_each_client() -> None:
    data = clients()
    made = process("ditto(softmax_regression(), sgd(0.1), sgd(0.2), strength = 0.5)")
    state = made.initialize(0)
    w, own = zeros(), {name: zeros() for name in SIZES}
    for cohort in COHORTS:
        result = made.next(state, batched({name: data[name] for name in cohort}, 3))
        state = result.state
        trained = [train(w, batches(data[name], 3), 0.1) for name in cohort]
        for name in cohort:
            own[name] = near(own[name], w, data[name])
        w = w + mean([d for d, _, _ in trained], [n for _, n, _ in trained])
    assert_weights(state.weights, w)
    for name in SIZES:
        assert_weights(state.own[name], own[name])


def near(start: Weights, centre: Weights, client: Any) -> Weights:
    """Steps of the loss with half the squared distance to the centre, times the strength."""
    for x, y in batches(client, 3):
        start = start - (loss_and_gradient(start, x, y)[1] + (start - centre) * 0.5) * 0.2
    return start


def test_a_client_that_never_took_part_has_the_first_value() -> None:
    made = process("ditto(softmax_regression(), sgd(0.1), sgd(0.2), strength = 0.5)")
    state = made.initialize(0)
    assert not state.own["anyone"].kernel.any()
    assert len(state.own) == 0
    after = made.next(state, {"a": batched(make_clients([4]), 2)[0]}).state
    assert len(after.own) == 1
    assert np.array_equal(after.own["b"].bias, np.zeros(3))
