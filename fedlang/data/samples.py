"""Data sets that come with fedlang: small, real, dealt out to clients, read one client at a time.

`mnist` is a sample of MNIST (`mnist.LICENSE.txt` says whose and under which licence). MNIST names no writers, so its
clients are synthetic: log-normal sizes, each with its own mix of digits drawn from Dirichlet(0.5). A client's test
digits have the same mix and come from MNIST's test set, by other writers than its training digits.
`tools/make_mnist_sample.py` made the file.

`shakespeare` is what a hundred speaking roles say in Shakespeare's plays (`shakespeare.LICENSE.txt`), and each is a
client: 5 to 206 speeches, the last fifth of which are its test set. `tools/make_shakespeare_sample.py` made the file, a
compressed JSON record of roles, of each `train` and `test`.

MNIST's file is a zip archive of `.npy` arrays, for each client `ID.train.pixels`, `ID.train.y`, `ID.test.pixels` and
`ID.test.y`.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files

import numpy as np

from fedlang.data.clients import ClientData
from fedlang.data.errors import unknown_data
from fedlang.data.trees import Examples
from fedlang.run.sequences import Array

NAMES = ("mnist", "shakespeare")


@dataclass(frozen=True)
class Federated:
    """A data set dealt out to clients. Both parts have the same clients; `test.concatenate()` is a central test set."""

    train: ClientData
    test: ClientData

    def first(self, count: int) -> Federated:
        """The first clients, at most `count`."""
        return Federated(self.train.first(count), self.test.first(count))


def load(name: str, *, pixels: bool = False) -> Federated:
    """A data set by name. `DiagnosticError` FED0701 for a name that is not in `NAMES`.

    `mnist` has examples `{x: float32[784], y: int32}` with `x` from 0 to 1, or with `pixels`
    `{pixels: uint8[28, 28], y: int32}`. Its first ten clients have 972 training and 116 test digits together.
    `shakespeare` has examples `{snippets: string}`, a speech each, its lines parted by line ends.
    """
    if name not in NAMES:
        raise unknown_data(name, NAMES)
    if name == "shakespeare":
        return Federated(*(ClientData(tuple(_speeches()), partial(_said, part)) for part in ("train", "test")))
    members = _archive(name).namelist()
    ids = tuple(member.split(".")[0] for member in members if member.endswith(".train.y.npy"))
    return Federated(
        ClientData(ids, lambda client: _digits(name, f"{client}.train", pixels=pixels)),
        ClientData(ids, lambda client: _digits(name, f"{client}.test", pixels=pixels)),
    )


@cache
def _archive(name: str) -> zipfile.ZipFile:
    """The compressed file, in memory: threads may read it at the same time."""
    return zipfile.ZipFile(io.BytesIO((files("fedlang.data") / f"{name}.npz").read_bytes()))


def _array(name: str, member: str) -> Array:
    """The bytes of an array of bytes, its header passed over: NumPy reads it with Python's parser, which threads of
    CPython 3.11 may not use at the same time (`SystemError: AST constructor recursion depth mismatch`)."""
    content = _archive(name).read(f"{member}.npy")
    return np.frombuffer(content, np.uint8, offset=10 + int.from_bytes(content[8:10], "little"))


@cache
def _digits(name: str, part: str, *, pixels: bool) -> Examples:
    images, labels = _array(name, f"{part}.pixels").reshape(-1, 28, 28), _array(name, f"{part}.y").astype(np.int32)
    if pixels:
        return {"pixels": images, "y": labels}
    return {"x": images.reshape(len(images), 784).astype(np.float32) / np.float32(255), "y": labels}


@cache
def _speeches() -> dict[str, dict[str, list[str]]]:
    """By role the speeches of each part."""
    content = (files("fedlang.data") / "shakespeare.json.xz").read_bytes()
    speeches: dict[str, dict[str, list[str]]] = json.loads(lzma.decompress(content))
    return speeches


@cache
def _said(part: str, role: str) -> Examples:
    return {"snippets": np.array(_speeches()[role][part], object)}
