"""The MNIST sample in the form of federated EMNIST."""

from __future__ import annotations

import numpy as np

import fedlang as fl
from fedlang.data import load
from fedlang.data.partition import field


def test_the_first_ten_clients_hold_what_the_tutorial_says() -> None:
    train, test = fl.simulation.datasets.mnist.load_data()
    assert train.client_ids == test.client_ids == tuple(sorted(train.client_ids))
    assert sum(train.count(client) for client in train.client_ids[:10]) == 972
    assert sum(test.count(client) for client in test.client_ids[:10]) == 116


def test_paper_is_one_and_ink_is_zero() -> None:
    train, _ = fl.simulation.datasets.mnist.load_data()
    examples = train.examples(train.client_ids[0])
    pixels, label = field(examples, "pixels"), field(examples, "label")
    assert (pixels.dtype, pixels.shape[1:], label.dtype, label.ndim) == (np.float32, (28, 28), np.int32, 1)
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)
    assert (pixels[:, 0] == 1.0).all()
    flat = field(load("mnist").train.examples(train.client_ids[0]), "x")
    np.testing.assert_allclose(1 - pixels.reshape(-1, 784), flat, atol=1e-6)
