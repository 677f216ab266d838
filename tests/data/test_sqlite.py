"""TensorFlow Federated's SQLite layout: files made with sqlite3 and TensorFlow's own messages are read, and come back."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlang.data import ClientData
from fedlang.data.partition import field
from fedlang.data.proto import parse_example, print_example
from fedlang.data.sqlite import read_sqlite, write_sqlite
from fedlang.data.trees import named_leaves
from fedlang.diagnostics import DiagnosticError
from fedlang.simulation import load_and_parse_sql_client_data, save_to_sql_client_data

tf: Any = pytest.importorskip("tensorflow")

EMNIST = {"label": "int32", "pixels": ("float32", (28, 28))}


def message(**features: Any) -> bytes:
    """A message as TensorFlow writes it."""

    def feature(value: Any) -> Any:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=array.ravel()))
        if array.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=array.ravel()))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode() for text in array.ravel()]))

    named = {name: feature(value) for name, value in features.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString())


def published(path: Path, rows: list[tuple[str, str, bytes]]) -> Path:
    """A file as TensorFlow Federated publishes them: rows of split, client and message."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)")
        connection.execute("CREATE TABLE client_metadata (client_id TEXT, split_name TEXT, num_examples INTEGER)")
        connection.executemany("INSERT INTO examples VALUES (?, ?, ?)", rows)
        for client, split in sorted({(client, split) for split, client, _ in rows}):
            count = sum((client, split) == (row[1], row[0]) for row in rows)
            connection.execute("INSERT INTO client_metadata VALUES (?, ?, ?)", (client, split, count))
    connection.close()
    return path


@pytest.fixture
def emnist(tmp_path: Path) -> Path:
    digits = [
        ("digits_only_train", "f3001_03", 7),
        ("digits_only_train", "f0000_14", 1),
        ("digits_only_train", "f3001_03", 4),
    ]
    digits += [("digits_only_test", "f3001_03", 9), ("all_train", "f9", 61)]
    pixels = np.full((28, 28), 0.25, np.float32)
    return published(tmp_path / "emnist_all.sqlite", [(s, c, message(label=n, pixels=pixels)) for s, c, n in digits])


def test_a_published_file_is_read(emnist: Path) -> None:
    train = read_sqlite(emnist, "digits_only_train", EMNIST)
    assert train.client_ids == ("f0000_14", "f3001_03")
    examples = train.examples("f3001_03")
    label, pixels = field(examples, "label"), field(examples, "pixels")
    assert (label.tolist(), label.dtype) == ([7, 4], np.int32)
    assert (pixels.shape, pixels.dtype, pixels.min()) == ((2, 28, 28), np.float32, 0.25)
    assert field(read_sqlite(emnist, "digits_only_test", EMNIST).examples("f3001_03"), "label").tolist() == [9]
    assert read_sqlite(emnist, spec=EMNIST).client_ids == ("f0000_14", "f3001_03", "f9")
    assert field(read_sqlite(emnist, spec=EMNIST).examples("f3001_03"), "label").tolist() == [7, 4, 9]


def test_without_a_spec_the_messages_say_what_they_hold(emnist: Path) -> None:
    examples = read_sqlite(emnist).examples("f0000_14")
    label, pixels = field(examples, "label"), field(examples, "pixels")
    assert (label.dtype, label.shape, pixels.dtype, pixels.shape) == (np.int64, (1,), np.float32, (1, 784))


def test_specs_of_tensorflow_are_understood(emnist: Path) -> None:
    spec = {"label": tf.TensorSpec((), tf.int64), "pixels": tf.TensorSpec((784,), tf.float32)}
    data = load_and_parse_sql_client_data(emnist, spec, "digits_only_train")
    assert data.element_type_structure == {"label": spec["label"], "pixels": spec["pixels"]}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    train = ClientData.from_dict(
        {
            "a": {
                "flag": np.array([True, False]),
                "t": ["p", "ü"],
                "x": np.random.default_rng(1).normal(size=(2, 3, 2)).astype(np.float32),
            },
            "b": {"flag": np.zeros(0, bool), "t": np.zeros(0, object), "x": np.zeros((0, 3, 2), np.float32)},
        }
    )
    write_sqlite(tmp_path / "data.sqlite", {"train": train, "test": train.subset(["a"])})
    back = read_sqlite(tmp_path / "data.sqlite", "train")
    assert back.client_ids == ("a", "b")
    for client in back:
        for (path, left), (other, right) in zip(
            named_leaves(train.examples(client)), named_leaves(back.examples(client)), strict=True
        ):
            assert (path, left.dtype, left.shape) == (other, right.dtype, right.shape)
            np.testing.assert_array_equal(left, right)
    assert read_sqlite(tmp_path / "data.sqlite", "test").client_ids == ("a",)
    assert [path.name for path in tmp_path.iterdir()] == ["data.sqlite"], "no draft is left"


def test_tensorflow_reads_what_is_written(tmp_path: Path) -> None:
    save_to_sql_client_data(
        ["c"], lambda client: {"x": np.ones((2, 2), np.float32), "y": [3, 4]}, tmp_path / "d.sqlite"
    )
    with sqlite3.connect(tmp_path / "d.sqlite") as connection:
        rows = connection.execute("SELECT serialized_example_proto FROM examples WHERE client_id = 'c'").fetchall()
        assert connection.execute("SELECT * FROM client_metadata").fetchall() == [("c", "default_split", 2)]
    connection.close()
    spec = {"x": tf.io.FixedLenFeature((2,), tf.float32), "y": tf.io.FixedLenFeature((), tf.int64)}
    parsed = tf.io.parse_example([row[0] for row in rows], spec)
    assert parsed["y"].numpy().tolist() == [3, 4]
    assert parsed["x"].shape == (2, 2)


def test_messages_are_those_of_tensorflow() -> None:
    whole = message(a=[1.5, -2.0], b=[2**40, -1], c=["", "xyz"])
    found = parse_example(whole)
    assert (found["a"].tolist(), found["b"].tolist(), found["c"].tolist()) == ([1.5, -2.0], [2**40, -1], [b"", b"xyz"])
    written = print_example(
        {"a": np.float32([1.5, -2.0]), "b": np.array([2**40, -1]), "c": np.array(["", "xyz"], object)}
    )
    assert tf.train.Example.FromString(written) == tf.train.Example.FromString(whole)


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        ({"label": "float32"}, "FED0717", r"int64\[1\] in the feature `label`(.|\n)*needed is float32"),
        ({"pixels": ("float32", (28, 27))}, "FED0717", r"float32\[784\](.|\n)*needed is float32\[28, 27\]"),
        ({"labels": "int32"}, "FED0716", r"feature `labels` of client f9(.|\n)*`label`, `pixels`"),
        ({"label": ("int32", (2,))}, "FED0717", r"int64\[1\]"),
    ],
)
def test_a_spec_is_held_to(emnist: Path, spec: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(DiagnosticError, match=rf"{code}(.|\n)*{words}"):
        read_sqlite(emnist, "all_train", spec).examples("f9")


def test_numbers_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = published(tmp_path / "a.sqlite", [("train", "c", message(n=300))])
    assert field(read_sqlite(path, spec={"n": "int16"}).examples("c"), "n").tolist() == [300]
    with pytest.raises(DiagnosticError, match=r"FED0717.*300(.|\n)*uint8"):
        read_sqlite(path, spec={"n": "uint8"}).examples("c")


def test_unknown_names_are_offered_the_nearest(emnist: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"FED0718(.|\n)*did you mean `digits_only_train`"):
        read_sqlite(emnist, "digit_only_train")
    with pytest.raises(DiagnosticError, match=r"FED0618(.|\n)*did you mean `f0000_14`"):
        read_sqlite(emnist, "digits_only_train").examples("f000_14")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_file_cut_short_is_damaged(tmp_path: Path, share: float) -> None:
    rows = [("train", f"client_{k:03d}", message(x=np.ones(500, np.float32))) for k in range(40)]
    path = published(tmp_path / "long.sqlite", rows)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DiagnosticError, match=r"FED0715.*long.sqlite` is damaged, or no SQLite file"):
        read_sqlite(path, "train").concatenate()


def test_other_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database, though it is long enough to have a header" * 9)
    with pytest.raises(DiagnosticError, match="FED0715"):
        read_sqlite(tmp_path / "text.sqlite")
    with pytest.raises(DiagnosticError, match=r"FED0714.*No such file"):
        read_sqlite(tmp_path / "nothing.sqlite")
    assert not (tmp_path / "nothing.sqlite").exists()
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE examples (client_id TEXT, serialized_example_proto BLOB)")
        connection.execute("CREATE TABLE client_metadata (client_id TEXT, split_name TEXT, num_examples INTEGER)")
    with pytest.raises(DiagnosticError, match=r"FED0716.*column `split_name` in the table `examples`"):
        read_sqlite(tmp_path / "other.sqlite")
    with connection:
        connection.execute("DROP TABLE client_metadata")
    connection.close()
    with pytest.raises(DiagnosticError, match=r"FED0716.*table `client_metadata`(.|\n)*there is `examples`"):
        read_sqlite(tmp_path / "other.sqlite")


def test_odd_rows_are_told(tmp_path: Path) -> None:
    rows = [("t", "broken", b"\xff\xff\xff"), ("t", "ragged", message(x=[1, 2])), ("t", "ragged", message(x=[1]))]
    rows += [("t", "fields", message(x=1)), ("t", "fields", message(y=1))]
    data = read_sqlite(published(tmp_path / "odd.sqlite", rows))
    for client, code in (("broken", "FED0715"), ("ragged", "FED0707"), ("fields", "FED0706")):
        with pytest.raises(DiagnosticError, match=rf"{code}(.|\n)*{client}"):
            data.examples(client)


def test_what_messages_would_round_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    for x, words in (([0.1], r"float64(.|\n)*write HDF5"), (np.array([2**63], np.uint64), "int64 does not hold")):
        with pytest.raises(DiagnosticError, match=rf"FED0722.*{words}"):
            write_sqlite(path, ClientData.from_dict({"a": {"x": np.asarray(x)}}))
    with pytest.raises(DiagnosticError, match=r"FED0717.*client b has int64(.|\n)*float32"):
        write_sqlite(path, ClientData.from_dict({"a": {"x": np.float32([1])}, "b": {"x": np.array([1])}}))
    with pytest.raises(DiagnosticError, match=r"FED0712.*client b"):
        write_sqlite(path, ClientData.from_dict({"a": {"x": np.array([1])}, "b": {"y": np.array([1])}}))
    assert list(tmp_path.iterdir()) == []
    write_sqlite(path, ClientData.from_dict({"a": {"x": np.array([0.5])}}))
    with pytest.raises(DiagnosticError, match=r"FED0722.*there is a file"):
        write_sqlite(path, ClientData.from_dict({"a": {"x": np.array([0.5])}}))
    assert field(read_sqlite(path).examples("a"), "x").tolist() == [0.5]


def test_no_connection_is_left_open(emnist: Path) -> None:
    data = read_sqlite(emnist, "digits_only_train", EMNIST)
    gc.collect()
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    threads = [
        threading.Thread(target=lambda: [data.examples(client) for _ in range(20) for client in data]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    assert after <= before
