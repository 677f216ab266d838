"""TensorFlow Federated's HDF5 layout: files made with h5py alone are read, what is written comes back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlang.data import ClientData
from fedlang.data.hdf5 import read_hdf5, write_hdf5
from fedlang.data.partition import field
from fedlang.data.trees import named_leaves
from fedlang.diagnostics import DiagnosticError

h5py: Any = pytest.importorskip("h5py")


@pytest.fixture
def emnist(tmp_path: Path) -> Path:
    """A file as TensorFlow Federated published them."""
    path = tmp_path / "fed_emnist_digitsonly_train.h5"
    with h5py.File(path, "w") as file:
        for client, count in (("f3001_03", 3), ("f0000_14", 2)):
            group = file.create_group(f"examples/{client}")
            group["pixels"] = np.full((count, 28, 28), 1.0, np.float32)
            group["label"] = np.arange(count, dtype=np.int32)
    return path


def same(one: ClientData, other: ClientData) -> bool:
    assert one.client_ids == other.client_ids
    for client in one:
        pairs = zip(named_leaves(one.examples(client)), named_leaves(other.examples(client)), strict=True)
        for (path, left), (other_path, right) in pairs:
            assert (path, left.dtype, left.shape) == (other_path, right.dtype, right.shape)
            np.testing.assert_array_equal(left, right)
    return True


def test_a_published_file_is_read(emnist: Path) -> None:
    data = read_hdf5(emnist)
    assert data.client_ids == ("f0000_14", "f3001_03")
    examples = data.examples("f3001_03")
    assert [path for path, _ in named_leaves(examples)] == [".label", ".pixels"]
    assert field(examples, "pixels").shape == (3, 28, 28)
    assert field(examples, "label").tolist() == [0, 1, 2]


def test_strings_of_every_kind_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["examples/HAMLET/snippets"] = np.array(["To be,", "or näht"], object)
        file["examples/FOOL/snippets"] = np.array([b"Nuncle", b"Fie"])
    data = read_hdf5(tmp_path / "text.h5")
    assert field(data.examples("HAMLET"), "snippets").tolist() == ["To be,", "or näht"]
    assert field(data.examples("FOOL"), "snippets").tolist() == ["Nuncle", "Fie"]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    data = ClientData.from_dict(
        {
            "a": {
                "x": np.random.default_rng(1).normal(size=(3, 2)),
                "n": np.arange(3, dtype=np.uint8),
                "t": ["p", "", "ü"],
            },
            "b": {"x": np.zeros((0, 2)), "n": np.zeros(0, np.uint8), "t": np.zeros(0, object)},
        }
    ).map(lambda examples: dict(sorted(examples.items())) if isinstance(examples, dict) else examples)
    write_hdf5(tmp_path / "data.h5", data)
    assert same(read_hdf5(tmp_path / "data.h5"), data)
    with h5py.File(tmp_path / "data.h5") as file:
        assert sorted(file["examples/a"]) == ["n", "t", "x"]
    assert [path.name for path in tmp_path.iterdir()] == ["data.h5"], "no draft is left"


def test_threads_read_at_the_same_time(emnist: Path) -> None:
    data, found = read_hdf5(emnist), []

    def work() -> None:
        found.extend(data.count(client) for _ in range(20) for client in data)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(2) == found.count(3) == 80


def test_a_spec_is_held_to(emnist: Path) -> None:
    right = {"label": "int32", "pixels": ("float32", (28, 28))}
    assert read_hdf5(emnist, right).count("f0000_14") == 2
    for name, wrong, found in (
        ("label", "int64", r"client f0000_14 has int32 in the feature `label`(.|\n)*needed is int64"),
        ("pixels", ("float32", (784,)), r"float32\[28, 28\](.|\n)*needed is float32\[784\]"),
    ):
        with pytest.raises(DiagnosticError, match=rf"FED0717(.|\n)*{found}"):
            read_hdf5(emnist, {**right, name: wrong}).examples("f0000_14")
    with pytest.raises(
        DiagnosticError, match=r"FED0716.*no feature `labels` of client f0000_14(.|\n)*`label`, `pixels`"
    ):
        read_hdf5(emnist, {"labels": "int32"}).examples("f0000_14")


def test_an_unknown_client_is_offered_the_nearest(emnist: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"FED0618(.|\n)*did you mean `f3001_03`"):
        read_hdf5(emnist).examples("f3001_30")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_file_cut_short_is_damaged(emnist: Path, share: float) -> None:
    content = emnist.read_bytes()
    emnist.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DiagnosticError, match=r"FED0715.*fed_emnist_digitsonly_train.h5` is damaged, or no HDF5 file"):
        read_hdf5(emnist)


def test_other_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("label,pixels")
    with pytest.raises(DiagnosticError, match="FED0715"):
        read_hdf5(tmp_path / "text.h5")
    with pytest.raises(DiagnosticError, match=r"FED0714.*No such file"):
        read_hdf5(tmp_path / "nothing.h5")
    with pytest.raises(DiagnosticError, match=r"FED0714.*Is a directory"):
        read_hdf5(tmp_path)
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file["model_weights/kernel"] = np.ones(3)
    with pytest.raises(DiagnosticError, match=r"FED0716.*no group `/examples`(.|\n)*there is `/model_weights`"):
        read_hdf5(tmp_path / "keras.h5")


def test_odd_clients_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.create_group("examples/empty")
        file["examples/lengths/x"], file["examples/lengths/y"] = np.ones(3), np.ones(2)
        file["examples/complex/x"] = np.ones(3, np.complex64)
        file["examples/bytes/x"] = np.array([b"\xff\xfe"])
    data = read_hdf5(tmp_path / "odd.h5")
    for client, code in (("empty", "FED0716"), ("lengths", "FED0702"), ("complex", "FED0705"), ("bytes", "FED0705")):
        with pytest.raises(DiagnosticError, match=rf"{code}(.|\n)*{client}"):
            data.examples(client)


def test_a_file_is_replaced_only_when_asked_and_whole(emnist: Path) -> None:
    before = emnist.read_bytes()
    good = ClientData.from_dict({"a": {"x": np.ones(2)}})
    with pytest.raises(DiagnosticError, match=r"FED0722.*there is a file(.|\n)*overwrite=True"):
        write_hdf5(emnist, good)
    nested = ClientData.from_dict({"a": {"x": np.ones(2)}, "b": {"x": {"y": np.ones(2)}}})
    with pytest.raises(DiagnosticError, match=r"FED0722.*client b"):
        write_hdf5(emnist, nested, overwrite=True)
    assert emnist.read_bytes() == before
    assert list(emnist.parent.iterdir()) == [emnist]
    with pytest.raises(DiagnosticError, match=r"FED0722.*no name of a group"):
        write_hdf5(emnist, ClientData.from_dict({"a/b": {"x": np.ones(2)}}), overwrite=True)
    write_hdf5(emnist, good, overwrite=True)
    assert same(read_hdf5(emnist), good)
    with pytest.raises(DiagnosticError, match=r"FED0722.*No such file"):
        write_hdf5(emnist.parent / "nowhere" / "a.h5", good)
