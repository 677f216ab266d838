"""Federated averaging and its kin against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl

from .algorithms import Weights, batched, batches, fedavg, loss_and_gradient, make_clients, mean, train, zeros
from .programs import load, process

SIZES = [7, 12, 1, 3, 4]  # batches of 3: a last one that is smaller, one client smaller than a batch, whole ones
PLAIN = "fedavg(softmax_regression(), client = sgd(rate))"


def assert_weights(found: Any, wanted: Weights, within: float = 1e-5) -> None:
    for name in ("kernel", "bias"):
        want = getattr(wanted, name)
        np.testing.assert_allclose(found[name], want, rtol=within, atol=within * max(np.abs(want).max(), 1e-3))


def same_bits(a: Any, b: Any) -> bool:
    return all(np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes() for name in ("kernel", "bias"))


def run(made: Any, clients: Any, rounds: int = 1) -> tuple[Any, list[Any]]:
    state, metrics = made.initialize(0), []
    for _ in range(rounds):
        result = made.next(state, clients)
        state = result.state
        metrics.append(result.metrics)
    return state, metrics


def test_fedavg_is_the_papers_loop() -> None:
    clients = make_clients(SIZES)
    state, metrics = run(process(PLAIN, "rate: float32 = 0.02"), batched(clients, 3), rounds=5)
    wanted, losses = fedavg(clients, 3, 0.02, rounds=5)
    assert_weights(state.weights, wanted)
    np.testing.assert_allclose([m.loss for m in metrics], losses, rtol=1e-5)
    assert [m.examples for m in metrics] == [sum(SIZES)] * 5
    assert state.round == 5


def test_one_client_with_one_batch_is_one_step_of_gradient_descent() -> None:
    (client,) = make_clients([6])
    state, _ = run(process(PLAIN, "rate: float32 = 0.5"), batched([client], 6))
    _, gradient = loss_and_gradient(zeros(), client["x"], client["y"])
    assert_weights(state.weights, gradient * -0.5)


def test_fedprox_without_strength_is_fedavg() -> None:
    clients = batched(make_clients(SIZES), 3)
    plain, _ = run(process(PLAIN, "rate: float32 = 0.1"), clients, rounds=3)
    held, _ = run(process("fedprox(softmax_regression(), strength = 0.0, client = sgd(0.1))"), clients, rounds=3)
    assert same_bits(plain.weights, held.weights)


def test_fedprox_is_its_papers_equation() -> None:
    clients = make_clients(SIZES)
    made = process("fedprox(softmax_regression(), strength = 0.7, client = sgd(0.1))")
    state, metrics = run(made, batched(clients, 3), rounds=5)
    wanted, losses = fedavg(clients, 3, 0.1, rounds=5, strength=0.7)
    assert_weights(state.weights, wanted)
    np.testing.assert_allclose([m.loss for m in metrics], losses, rtol=1e-5)


def test_equal_clients_are_one_client_bit_for_bit() -> None:
    (client,) = batched(make_clients([8]), 3)
    made = process(PLAIN, "rate: float32 = 0.1")
    one, _ = run(made, [client], rounds=3)
    many, _ = run(made, [client] * 7, rounds=3)
    assert same_bits(one.weights, many.weights)


def test_no_order_of_the_clients_changes_a_bit() -> None:
    clients = {f"c{k}": each for k, each in enumerate(batched(make_clients(SIZES), 3))}
    made = process(PLAIN, "rate: float32 = 0.1")
    one, _ = run(made, clients, rounds=3)
    for order in ([4, 2, 0, 3, 1], [1, 0, 4, 3, 2]):
        other, _ = run(made, {f"c{k}": clients[f"c{k}"] for k in order}, rounds=3)
        assert same_bits(one.weights, other.weights)
    listed, _ = run(made, list(clients.values()), rounds=3)  # nothing here is drawn, so ids do not matter either
    assert same_bits(one.weights, listed.weights)


def test_a_client_without_examples_has_no_weight() -> None:
    clients = batched(make_clients(SIZES), 3)
    made = process(PLAIN, "rate: float32 = 0.1")
    with_empty, metrics = run(made, [*clients[:2], [], *clients[2:]], rounds=2)
    without, _ = run(made, clients, rounds=2)
    assert same_bits(with_empty.weights, without.weights)
    assert np.isfinite(metrics[0].loss)


def test_only_empty_clients_are_an_error() -> None:
    with pytest.raises(fl.DiagnosticError, match="FED06"):
        run(process(PLAIN, "rate: float32 = 0.1"), [[], []])


def test_data_that_is_batched_in_the_language() -> None:
    text = """
fed next(w: Weights@SERVER, data: <Example*>@CLIENTS) -> Weights@SERVER {
  let batches = grouped(data)
  let done = gradient_of(federated_broadcast(w), batches)
  w - federated_mean(done.delta, weight = done.examples)
}

fn grouped(data: Example*) -> Example[?]* { batch(data, 3) }

fn gradient_of(w: Weights, data: Example[?]*) -> {delta: Weights, examples: float32} {
  fold each in data from {delta: zeros[Weights](), examples: 0.0} as now {
    let (_, slope) = value_and_grad(loss)(w, each)
    {delta: now.delta + slope, examples: now.examples + 1.0}
  }
}
"""
    clients = make_clients(SIZES)
    found = load(text).next({"kernel": np.zeros((5, 3)), "bias": np.zeros(3)}, clients)
    sums = [sum((loss_and_gradient(zeros(), x, y)[1] for x, y in batches(c, 3)), zeros()) for c in clients]
    assert_weights(found, mean(sums, [len(batches(c, 3)) for c in clients]) * -1.0)


# ---- optimizers, by their papers' formulas ----


class Momentum:
    """Polyak, 1964."""

    def __init__(self, rate: float, decay: float = 0.9) -> None:
        self.rate, self.decay, self.velocity = rate, decay, zeros()

    def step(self, w: Weights, gradient: Weights) -> Weights:
        self.velocity = self.velocity * self.decay + gradient
        return w - self.velocity * self.rate


class Adam:
    """Kingma and Ba, 2014, algorithm 1 in the order that section 2 ends with."""

    def __init__(self, rate: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-7) -> None:
        self.rate, self.beta1, self.beta2, self.epsilon = rate, beta1, beta2, epsilon
        self.mean, self.square, self.t = zeros(), zeros(), 0

    def step(self, w: Weights, gradient: Weights) -> Weights:
        self.t += 1
        self.mean = self.mean * self.beta1 + gradient * (1 - self.beta1)
        self.square = self.square * self.beta2 + gradient.map(np.square) * (1 - self.beta2)
        rate = self.rate * np.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
        root = self.square.map(np.sqrt)
        change = Weights(self.mean.kernel / (root.kernel + self.epsilon), self.mean.bias / (root.bias + self.epsilon))
        return w - change * rate


class Decaying:
    """Gradient descent with the rate 1 / (t + 1)."""

    def __init__(self) -> None:
        self.t = 0

    def step(self, w: Weights, gradient: Weights) -> Weights:
        self.t += 1
        return w - gradient * (1.0 / self.t)


OPTIMIZERS = {
    "momentum(0.1)": lambda: Momentum(0.1),
    "momentum(0.1, decay = 0.5)": lambda: Momentum(0.1, 0.5),
    "adam(0.01, epsilon = 0.01)": lambda: Adam(0.01, epsilon=0.01),  # with 1e-7, noise in a zero gradient is a step
    "scheduled(fn (t) => 1.0 / cast(t + 1), sgd)": Decaying,
}


@pytest.mark.parametrize("written", OPTIMIZERS)
def test_an_optimizer_at_the_server(written: str) -> None:
    clients = make_clients(SIZES)
    made = process(f"fedavg(softmax_regression(), client = sgd(0.1), server = {written})")
    state, _ = run(made, batched(clients, 3), rounds=5)
    w, optimizer = zeros(), OPTIMIZERS[written]()
    for _ in range(5):
        trained = [train(w, batches(client, 3), 0.1) for client in clients]
        w = optimizer.step(w, mean([d for d, _, _ in trained], [n for _, n, _ in trained]) * -1.0)
    assert_weights(state.weights, w, 3e-5)


@pytest.mark.parametrize("written", OPTIMIZERS)
def test_an_optimizer_at_the_clients(written: str) -> None:
    clients = make_clients(SIZES)
    state, _ = run(process(f"fedavg(softmax_regression(), client = {written})"), batched(clients, 3), rounds=3)
    w = zeros()
    for _ in range(3):
        changes = []
        for client in clients:
            now, optimizer = w, OPTIMIZERS[written]()
            for x, y in batches(client, 3):
                now = optimizer.step(now, loss_and_gradient(now, x, y)[1])
            changes.append(now - w)
        w = w + mean(changes, [len(c["y"]) for c in clients])
    assert_weights(state.weights, w, 3e-5)
