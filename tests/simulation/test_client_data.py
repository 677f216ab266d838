"""Client data under the names of TensorFlow Federated. TensorFlow is slow to import: these share a file."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.data import client_sequences
from fedlang.run.sequences import Rows
from fedlang.simulation import (
    ClientData,
    ClientDatasets,
    FilePerUserClientData,
    FromTensorSlicesClientData,
    HDF5ClientData,
    SqlClientData,
    read_leaf,
    save_to_sql_client_data,
    write_hdf5,
    write_leaf,
    write_sqlite,
)

tf = pytest.importorskip("tensorflow")

TOTAL = """
fn whole(batches: float32[?]*) -> float32 { fold batch in batches from 0.0 as sum { sum + reduce_sum(batch) } }
fed total(x: <float32[?]*>@CLIENTS) -> float32@SERVER { federated_sum(whole(x)) }
"""


def five() -> ClientData:
    return FromTensorSlicesClientData({f"c{k}": {"b": np.arange(k + 1), "a": [float(k)] * (k + 1)} for k in range(5)})


def held(dataset: Any) -> list[Any]:
    return list(dataset.as_numpy_iterator())


def test_a_client_is_a_dataset_of_ordered_records() -> None:
    data = FromTensorSlicesClientData({"z": {"b": [1, 2], "a": [b"x", b"y"]}, "m": {"b": [3], "a": [b"w"]}})
    assert data.client_ids == ("m", "z")
    elements = held(data.create_tf_dataset_for_client("z"))
    assert elements == [OrderedDict(b=1, a=b"x"), OrderedDict(b=2, a=b"y")]
    assert isinstance(elements[0], OrderedDict)
    assert data.element_type_structure == OrderedDict(b=tf.TensorSpec((), tf.int64), a=tf.TensorSpec((), tf.string))


def test_the_element_type_prints_as_in_tensorflow_federated() -> None:
    train, _ = fl.simulation.datasets.mnist.load_data()
    pixels, label = train.element_type_structure["pixels"], train.element_type_structure["label"]
    assert (pixels, label) == (tf.TensorSpec((28, 28), tf.float32), tf.TensorSpec((), tf.int32))
    assert list(train.element_type_structure) == ["label", "pixels"]


def test_an_unknown_client_is_offered_the_nearest() -> None:
    data = FromTensorSlicesClientData({"writer_01": [1], "writer_02": [2]})
    for each in (data, data.preprocess(lambda dataset: dataset)):
        with pytest.raises(fl.DiagnosticError, match=r"FED0618(.|\n)*did you mean `writer_02`"):
            each.create_tf_dataset_for_client("wirter_02")


def test_preprocessing_is_done_when_a_client_is_read() -> None:
    asked = []

    def preprocess(dataset: Any) -> Any:
        asked.append(dataset)
        return dataset.map(lambda element: element["b"]).batch(2)

    data = five().preprocess(preprocess)
    assert (isinstance(data, ClientDatasets), data.client_ids, asked) == (True, five().client_ids, [])
    assert [batch.tolist() for batch in held(data.create_tf_dataset_for_client("c2"))] == [[0, 1], [2]]
    twice = data.preprocess(lambda dataset: dataset.repeat(2)).subset(["c4", "c1"])
    assert [batch.tolist() for batch in held(twice.create_tf_dataset_for_client("c1"))] == [[0, 1], [0, 1]]


def test_datasets_come_in_an_order_of_the_seed() -> None:
    sizes = [len(held(dataset)) for dataset in five().datasets(seed=3)]
    assert sorted(sizes) == [1, 2, 3, 4, 5]
    assert sizes == [len(held(dataset)) for dataset in five().datasets(seed=3)]
    assert [len(held(dataset)) for dataset in five().datasets(limit_count=2, seed=3)] == sizes[:2]
    assert len({tuple(len(held(d)) for d in five().datasets(seed=seed)) for seed in range(8)}) > 3


def test_all_clients_make_one_dataset() -> None:
    whole = five().create_tf_dataset_from_all_clients(seed=1)
    assert whole.element_spec == five().element_type_structure
    rows = [(element["a"], element["b"]) for element in held(whole)]
    assert sorted(rows) == [(float(k), n) for k in range(5) for n in range(k + 1)]
    assert rows == [(element["a"], element["b"]) for element in held(whole)], "it can be iterated again"
    batches = five().preprocess(lambda dataset: dataset.batch(2)).create_tf_dataset_from_all_clients()
    assert sum(len(batch["a"]) for batch in held(batches)) == 15


def test_a_function_from_ids_makes_datasets_in_plain_python() -> None:
    data = ClientData.from_clients_and_fn(["3", "1"], lambda client: tf.data.Dataset.range(int(client)))
    assert data.client_ids == ("3", "1")
    assert held(data.create_tf_dataset_for_client("3")) == [0, 1, 2]
    arrays = ClientData.from_clients_and_fn(["3"], lambda client: {"x": np.ones(int(client))})
    assert held(arrays.create_tf_dataset_for_client("3")) == [{"x": 1.0}] * 3


def test_whole_clients_are_held_out() -> None:
    train, test = ClientData.train_test_client_split(five(), 2, seed=4)
    assert (len(train), len(test)) == (3, 2)
    assert sorted([*train, *test]) == list(five().client_ids)
    assert test.client_ids == ClientData.train_test_client_split(five(), 2, seed=4)[1].client_ids
    assert len({ClientData.train_test_client_split(five(), 2, seed=seed)[1].client_ids for seed in range(12)}) > 4
    for count in (0, 5, 6):
        with pytest.raises(fl.DiagnosticError, match=r"FED0709.*from 1 to 4"):
            ClientData.train_test_client_split(five(), count)


def test_no_clients_have_no_element_type() -> None:
    with pytest.raises(fl.DiagnosticError, match="FED0711"):
        _ = FromTensorSlicesClientData({}).element_type_structure


def test_a_file_for_each_client(tmp_path: Path) -> None:
    for name, words in (("b.txt", "4 5"), ("a.txt", "1 2 3")):
        (tmp_path / name).write_text(words)
    (tmp_path / "folder").mkdir()
    data = FilePerUserClientData.create_from_dir(
        tmp_path, lambda path: [int(w) for w in Path(path).read_text().split()]
    )
    assert data.client_ids == ("a.txt", "b.txt")
    assert held(data.create_tf_dataset_for_client("b.txt")) == [4, 5]
    lines = FilePerUserClientData({"x": tmp_path / "a.txt", "gone": tmp_path / "gone.txt"}, tf.data.TextLineDataset)
    assert held(lines.create_tf_dataset_for_client("x")) == [b"1 2 3"]
    with pytest.raises(fl.DiagnosticError, match=r"FED0714.*gone.txt.*client gone"):
        lines.create_tf_dataset_for_client("gone")
    with pytest.raises(fl.DiagnosticError, match=r"FED0714.*nowhere.*No such file"):
        FilePerUserClientData.create_from_dir(tmp_path / "nowhere", tf.data.TextLineDataset)


def test_paths_that_the_system_refuses_are_told(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    files = FilePerUserClientData({"c": path}, lambda _: [1])
    for read in (
        lambda: files.create_tf_dataset_for_client("c"),
        lambda: read_leaf(path),
        lambda: HDF5ClientData(path),
    ):
        with pytest.raises(fl.DiagnosticError, match=r"FED0714.*File name too long"):
            read()
    for write in (write_hdf5, write_leaf, write_sqlite):
        with pytest.raises(fl.DiagnosticError, match=r"FED0722.*File name too long"):
            write(path, five())


def test_programs_take_client_data_and_lists_of_its_datasets() -> None:
    data = FromTensorSlicesClientData({name: np.arange(size, dtype=np.float32) for name, size in (("a", 3), ("b", 5))})
    batched = data.preprocess(lambda dataset: dataset.batch(2))
    with fl.executor("reference"):
        total = fl.loads(TOTAL).total
        for given in (batched, data.batches(2), [batched.create_tf_dataset_for_client(client) for client in batched]):
            assert total(given) == 13.0


def test_datasets_become_sequences() -> None:
    data = five().preprocess(lambda dataset: dataset.map(lambda element: element["b"]))
    examples = client_sequences(data).sequence("c2")
    batches = client_sequences(data.preprocess(lambda dataset: dataset.batch(2)), batched=True).sequence("c2")
    assert isinstance(examples, Rows)
    assert isinstance(batches, Rows)
    assert examples.rows.tolist() == [0, 1, 2]
    assert [batch.tolist() for batch in batches] == [[0, 1], [2]]


def test_files_have_classes_too(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "five.h5", five())
    save_to_sql_client_data(five().client_ids, five().create_tf_dataset_for_client, tmp_path / "five.sqlite")
    spec = {"a": "float32", "b": "int64"}
    for data in (
        HDF5ClientData(tmp_path / "five.h5"),
        SqlClientData(tmp_path / "five.sqlite"),
        SqlClientData(tmp_path / "five.sqlite", "default_split", spec),
    ):
        assert isinstance(data, ClientData)
        assert data.client_ids == five().client_ids
        elements = held(data.create_tf_dataset_for_client("c3"))
        assert elements == [OrderedDict(a=3.0, b=place) for place in range(4)]
        with pytest.raises(fl.DiagnosticError, match=r"FED0618(.|\n)*did you mean `c3`"):
            data.create_tf_dataset_for_client("cc3")
    with pytest.raises(fl.DiagnosticError, match=r"FED0718(.|\n)*did you mean `default_split`"):
        SqlClientData(tmp_path / "five.sqlite", "default_splits")


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = "import sys, fedlang as fl; fl.simulation.datasets; dir(fl.simulation); print([m for m in ('numpy', 'tensorflow', 'h5py', 'sqlite3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_of_the_face_is_there() -> None:
    for module in (fl.simulation, fl.simulation.datasets):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        fl.simulation.nothing  # noqa: B018
