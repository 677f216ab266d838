"""The MNIST sample is the one that was made, read a client at a time."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from fedlang.data import load, plot_partition, samples
from fedlang.data.partition import field
from fedlang.diagnostics import DiagnosticError

SHA256 = "a6d4b874d36518b69c20d43d7307a061e083edca83d87824aa0b35a4b1b963c5"


def test_the_file_is_the_one_that_was_made() -> None:
    content = (files("fedlang.data") / "mnist.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert len(content) < 1_300_000
    assert "CC BY-SA 3.0" in (files("fedlang.data") / "mnist.LICENSE.txt").read_text(encoding="utf-8")


def test_clients_have_unequal_sizes_and_mixes() -> None:
    mnist = load("mnist")
    train = [mnist.train.count(client) for client in mnist.train]
    test = [mnist.test.count(client) for client in mnist.test]
    assert mnist.train.client_ids == mnist.test.client_ids
    assert (len(train), sum(train), sum(test)) == (64, 5672, 676)
    assert (min(train), max(train), sum(size < 10 for size in train), sum(size < 20 for size in train)) == (
        4,
        463,
        5,
        12,
    )
    assert min(test) >= 1
    largest_share = [
        np.bincount(field(mnist.train.examples(client), "y")).max() / size
        for client, size in zip(mnist.train, train, strict=True)
    ]
    assert np.median(largest_share) > 0.3


def test_the_first_ten_clients_hold_what_the_tutorial_says() -> None:
    ten = load("mnist").first(10)
    assert len(ten.train) == 10
    assert len(field(ten.train.concatenate(), "y")) == 972
    assert len(field(ten.test.concatenate(), "y")) == 116


def test_examples_are_flat_and_scaled_or_pixels() -> None:
    client = load("mnist").train.client_ids[0]
    examples, raw = load("mnist").train.examples(client), load("mnist", pixels=True).train.examples(client)
    x, pixels = field(examples, "x"), field(raw, "pixels")
    assert (x.dtype, x.shape[1:], pixels.dtype, pixels.shape[1:]) == (np.float32, (784,), np.uint8, (28, 28))
    assert (x.min(), x.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(np.rint(x * np.float32(255)).astype(np.uint8), pixels.reshape(-1, 784))
    assert field(examples, "y").dtype == np.int32
    np.testing.assert_array_equal(field(examples, "y"), field(raw, "y"))


def test_no_digit_is_there_twice() -> None:
    mnist = load("mnist", pixels=True)
    both = np.concatenate([field(part.concatenate(), "pixels") for part in (mnist.train, mnist.test)])
    assert len(np.unique(both.reshape(len(both), -1), axis=0)) == len(both)


def test_a_nearest_neighbour_knows_the_digits() -> None:
    mnist = load("mnist")
    train, test = mnist.train.concatenate(), mnist.test.concatenate()
    near = np.argmax(field(test, "x") @ field(train, "x").T - 0.5 * (field(train, "x") ** 2).sum(1), axis=1)
    assert (field(train, "y")[near] == field(test, "y")).mean() > 0.9


def test_shakespeare_is_the_file_that_was_made() -> None:
    content = (files("fedlang.data") / "shakespeare.json.xz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == "535fbd0ff9302d7b833298ceff62fe5c035bf2933ab18a3149aa953c0cde8555"
    assert len(content) < 150_000
    assert "public domain" in (files("fedlang.data") / "shakespeare.LICENSE.txt").read_text(encoding="utf-8")


def test_speaking_roles_have_unequal_sizes_and_split_their_speeches() -> None:
    plays = load("shakespeare")
    assert plays.train.client_ids == plays.test.client_ids == tuple(sorted(plays.train.client_ids))
    train = np.array([plays.train.count(role) for role in plays.train])
    test = np.array([plays.test.count(role) for role in plays.test])
    assert (len(train), train.sum(), test.sum()) == (100, 2540, 588)
    np.testing.assert_array_equal(test, np.maximum(1, (train + test) // 5))
    assert ((train + test).min(), (train + test).max()) == (5, 206)


def test_speeches_are_plain_text_without_directions() -> None:
    plays = load("shakespeare")
    for part in (plays.train, plays.test):
        speeches = field(part.concatenate(), "snippets")
        assert all(20 <= len(speech) <= 400 and speech.isascii() for speech in speeches)
        assert not any(mark in speech for speech in speeches for mark in "[]\t\r")


def test_an_unknown_name_is_offered_the_nearest() -> None:
    with pytest.raises(DiagnosticError, match=r"no data set is called `minst`(.|\n)*did you mean `mnist`"):
        load("minst")


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import sys, fedlang.data; print([m for m in ('numpy', 'tensorflow', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_partition_can_be_drawn() -> None:
    pytest.importorskip("matplotlib")
    figure = plot_partition(load("mnist").train.first(5))
    (axes,) = figure.axes
    assert axes.get_title() == "511 examples of 5 clients by y"
    assert len(axes.containers) == 10


def test_threads_read_digits_without_pythons_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy reads headers with it, and in CPython 3.11 two threads that use it at once may fail."""
    monkeypatch.setattr(ast, "literal_eval", lambda _: pytest.fail("the parser was called"))
    samples._digits.cache_clear()
    data = samples.load("mnist", pixels=True)
    examples = data.train.examples(data.train.client_ids[-1])
    assert examples["pixels"].shape == (len(examples["y"]), 28, 28)
