"""TensorFlow datasets are read as they are, at each use. Alone in its file: TensorFlow is slow to import."""

from __future__ import annotations

import numpy as np
import pytest

from fedlang.data import ClientData, client_sequences
from fedlang.run.sequences import Rows

tf = pytest.importorskip("tensorflow")


def test_a_dataset_gives_examples_and_is_read_at_each_use() -> None:
    reads = []

    def note(x: object) -> object:
        reads.append(x)
        return x

    dataset = tf.data.Dataset.range(3).map(lambda x: tf.py_function(note, [x], tf.int64))
    data = ClientData.from_dict({"a": dataset})
    assert reads == []
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(data.examples("a")), [0, 1, 2])
    assert len(reads) == 6


def test_a_dataset_of_batches_becomes_rows_and_splits() -> None:
    dataset = tf.data.Dataset.from_tensor_slices({"x": np.arange(5.0), "name": list("abcde")}).batch(2)
    sequence = client_sequences([dataset], batched=True).sequence("0")
    assert isinstance(sequence, dict)
    x, name = sequence["x"], sequence["name"]
    assert isinstance(x, Rows)
    assert isinstance(name, Rows)
    assert [batch.tolist() for batch in x] == [[0, 1], [2, 3], [4]]
    assert [batch.tolist() for batch in name] == [["a", "b"], ["c", "d"], ["e"]]
