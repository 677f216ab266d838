"""LEAF's JSON layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlang.data import ClientData
from fedlang.data.leaf import read_leaf, write_leaf
from fedlang.data.partition import field
from fedlang.diagnostics import DiagnosticError

WHOLE: dict[str, Any] = {
    "users": ["b", "a"],
    "num_samples": [2, 1],
    "user_data": {"a": {"x": [[0.5, 1.0]], "y": [3]}, "b": {"x": [[0.0, 0.25], [1.0, 0.0]], "y": [1, 2]}},
}


def leaf(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({name: part for name, part in {**WHOLE, **changes}.items() if part is not None}))
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    data = read_leaf(leaf(tmp_path / "train.json", hierarchies=["x", "y"]))
    assert data.client_ids == ("a", "b")
    x, y = field(data.examples("b"), "x"), field(data.examples("b"), "y")
    assert (x.tolist(), x.dtype, y.tolist(), y.dtype) == ([[0.0, 0.25], [1.0, 0.0]], np.float32, [1, 2], np.int32)


def test_a_folder_is_read(tmp_path: Path) -> None:
    leaf(tmp_path / "all_data_0.json")
    leaf(tmp_path / "all_data_1.json", users=["c"], num_samples=[1], user_data={"c": {"x": [[0.5, 0.5]], "y": [2**40]}})
    data = read_leaf(tmp_path)
    assert data.client_ids == ("a", "b", "c")
    assert field(data.examples("c"), "x").tolist() == [[0.5, 0.5]]
    assert field(data.examples("c"), "y").dtype == np.int64
    leaf(tmp_path / "all_data_2.json")
    with pytest.raises(DiagnosticError, match="FED0620"):
        read_leaf(tmp_path)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    data = ClientData.from_dict(
        {"b": {"x": x, "y": np.arange(3, dtype=np.int32)}, "a": {"x": x[:1], "y": np.int32([7])}}
    )
    write_leaf(tmp_path / "out.json", data)
    assert json.loads((tmp_path / "out.json").read_text())["num_samples"] == [3, 1]
    back = read_leaf(tmp_path / "out.json")
    for client in data:
        for name in "xy":
            one, other = field(data.examples(client), name), field(back.examples(client), name)
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def dtypes(data: ClientData, name: str) -> list[np.dtype[Any]]:
    return [field(data.examples(client), name).dtype for client in data]


def test_a_feature_has_one_dtype_for_all_clients(tmp_path: Path) -> None:
    sparse = {"a": {"x": [[0, 1]], "y": [2**40]}, "b": {"x": [[0.5, 1], [1, 0]], "y": [1, 2]}}
    data = read_leaf(leaf(tmp_path / "train.json", user_data=sparse))
    assert (dtypes(data, "x"), dtypes(data, "y")) == ([np.float32] * 2, [np.int64] * 2)
    assert field(data.examples("a"), "y").tolist() == [2**40]
    said = {"a": {"x": ["To be"]}, "b": {"x": ["or", "not"]}}
    assert field(read_leaf(leaf(tmp_path / "train.json", user_data=said)).examples("b"), "x").tolist() == ["or", "not"]
    flags = {"a": {"x": [True]}, "b": {"x": [False, True]}}
    assert dtypes(read_leaf(leaf(tmp_path / "train.json", user_data=flags)), "x") == [np.bool_] * 2


def test_a_client_without_examples_is_like_the_others(tmp_path: Path) -> None:
    some = {"a": {"x": [], "y": []}, "b": {"x": [[0.5, 1], [1, 0]], "y": [1, 2]}}
    data = read_leaf(leaf(tmp_path / "train.json", num_samples=[2, 0], user_data=some))
    assert field(data.examples("a"), "x").shape == (0, 2)
    assert (dtypes(data, "x"), dtypes(data, "y")) == ([np.float32] * 2, [np.int32] * 2)
    assert field(data.concatenate(), "y").tolist() == [1, 2]
    write_leaf(tmp_path / "again.json", data)
    assert dtypes(read_leaf(tmp_path / "again.json"), "y") == [np.int32] * 2


B = {"x": [1, 2], "y": [1, 2]}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"users": 3}, "FED0715", "`users` is a number, not a list"),
        ({"num_samples": {"a": 1}}, "FED0715", "`num_samples` is an object, not a list"),
        ({"user_data": [1]}, "FED0715", "`user_data` is a list, not an object"),
        (
            {"user_data": {"a": True, "b": B}},
            "FED0715",
            "the entry for `a` in `user_data` is true or false, not an object",
        ),
        ({"num_samples": ["2", 1]}, "FED0715", "`b` has 2 examples, and 2 by"),
        (
            {"user_data": {"a": {"x": ["t"], "y": [1]}, "b": B}},
            "FED0717",
            "client a has text in the feature `x`(.|\n)*numbers, as client b",
        ),
        (
            {"user_data": {"a": {"x": [1e300], "y": [1]}, "b": B}},
            "FED0717",
            r"client a has numbers from 1e\+300(.|\n)*float32",
        ),
        ({"user_data": {"a": {"x": [2**63], "y": [1]}, "b": B}}, "FED0717", "client a(.|\n)*needed is int64"),
        ({"user_data": {"a": {"x": [None], "y": [1]}, "b": B}}, "FED0705", "client a"),
        ({"user_data": {"a": {"x": [1], "z": [1]}, "b": B}}, "FED0712", "client a(.|\n)*`.x`, `.z`"),
    ],
)
def test_odd_content_is_told(tmp_path: Path, changes: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(DiagnosticError, match=rf"{code}(.|\n)*{words}"):
        read_leaf(leaf(tmp_path / "train.json", **changes))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"user_data": None}, "FED0716", "no key `user_data`(.|\n)*`users`, `num_samples`"),
        ({"num_samples": [2]}, "FED0715", "2 users and 1 numbers of samples"),
        ({"num_samples": [2, 5]}, "FED0715", "`a` has 1 examples, and 5 by `num_samples`"),
        ({"users": ["b", "c"]}, "FED0716", "no entry for `c`"),
        ({"user_data": {"a": {"x": [1, 2], "y": [3]}, "b": {}}}, "FED070[24]", "client"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, changes: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(DiagnosticError, match=rf"{code}(.|\n)*{words}"):
        read_leaf(leaf(tmp_path / "train.json", **changes))


def test_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"FED0716.*`.json`"):
        read_leaf(tmp_path)
    with pytest.raises(DiagnosticError, match="FED0714"):
        read_leaf(tmp_path / "nothing.json")
    content = leaf(tmp_path / "train.json").read_text()
    (tmp_path / "train.json").write_text(content[: len(content) // 2])
    with pytest.raises(DiagnosticError, match=r"FED0715.*no JSON file"):
        read_leaf(tmp_path / "train.json")
    (tmp_path / "train.json").write_text("[1, 2]")
    with pytest.raises(DiagnosticError, match="FED0716"):
        read_leaf(tmp_path / "train.json")
