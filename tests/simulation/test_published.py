"""The loaders of published sets, on small files of the same names and layouts, from a server on this machine."""

from __future__ import annotations

import bz2
import hashlib
import http.server
import io
import json
import lzma
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.data import downloads, partition
from fedlang.data.downloads import Published, fetched
from fedlang.data.proto import print_example
from fedlang.data.trees import named_leaves
from fedlang.simulation.datasets import cifar100, emnist, shakespeare, stackoverflow

h5py: Any = pytest.importorskip("h5py")


@dataclass
class Server:
    """Serves files, and notes what was asked for. `promised` adds bytes to a file's announced length."""

    origin: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    promised: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            state.asked.append(name)
            if name not in state.files:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.files[name]) + state.promised))
            self.end_headers()
            self.wfile.write(state.files[name])

        def log_message(self, *arguments: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.origin = f"http://127.0.0.1:{running.server_port}/"
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield state
    running.shutdown()
    thread.join()
    running.server_close()


def tarred(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:bz2") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def hdf5(clients: dict[str, dict[str, Any]]) -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for client, features in clients.items():
            for name, values in features.items():
                file[f"examples/{client}/{name}"] = values
    return target.getvalue()


def database(folder: Path, splits: dict[str, dict[str, dict[str, Any]]]) -> bytes:
    path = folder / "made.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)")
    connection.execute("CREATE TABLE client_metadata (client_id TEXT, split_name TEXT, num_examples INTEGER)")
    for split, clients in splits.items():
        for client, features in clients.items():
            count = len(next(iter(features.values())))
            for place in range(count):
                one = {name: np.asarray(values[place]) for name, values in features.items()}
                texts = {
                    name: value.astype(object) if value.dtype.kind in "SU" else value for name, value in one.items()
                }
                connection.execute("INSERT INTO examples VALUES (?, ?, ?)", (split, client, print_example(texts)))
            connection.execute("INSERT INTO client_metadata VALUES (?, ?, ?)", (client, split, count))
    connection.commit()
    connection.close()
    return path.read_bytes()


def known(packed: Published, content: bytes) -> Published:
    return replace(packed, sha256=hashlib.sha256(content).hexdigest())


EMNIST = {"label": np.array([7, 1], np.int32), "pixels": np.full((2, 28, 28), 0.5, np.float32)}
CIFAR = {"coarse_label": np.array([3]), "image": np.full((1, 32, 32, 3), 200, np.uint8), "label": np.array([99])}
SHAKESPEARE = {"snippets": ["To be,", "or not"]}
STACKOVERFLOW = {name: ["a b"] for name in stackoverflow.TEXTS} | {"score": np.array([-4])}

SETS: list[tuple[Any, str, dict[str, Any], Callable[..., Any]]] = [
    (emnist, "DIGITS", EMNIST, emnist.load_data),
    (emnist, "ALL", EMNIST, lambda **options: emnist.load_data(only_digits=False, **options)),
    (cifar100, "PUBLISHED", CIFAR, cifar100.load_data),
    (shakespeare, "PUBLISHED", SHAKESPEARE, shakespeare.load_data),
    (stackoverflow, "PUBLISHED", STACKOVERFLOW, stackoverflow.load_data),
]


@pytest.mark.parametrize(("module", "name", "features", "load"), SETS)
@pytest.mark.parametrize("layout", ["hdf5", "sqlite"])
def test_every_set_is_loaded(
    module: Any, name: str, features: dict[str, Any], load: Any, layout: str,
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    both = getattr(module, name)
    packed = tarred({member: hdf5({f"of {member}": features}) for member in both.hdf5.members})
    splits = {split: {f"of {member}": features} for split, member in zip(both.splits, both.hdf5.members, strict=True)}
    server.files = {
        both.hdf5.name: packed,
        both.sqlite.name: lzma.compress(database(tmp_path, splits), lzma.FORMAT_ALONE),
    }
    monkeypatch.setattr(module, name, replace(both, hdf5=known(both.hdf5, packed)))
    cache = tmp_path / "cache" / "deep"
    for _ in range(2):
        parts = load(cache_dir=cache, layout=layout, origin=server.origin)
        assert [part.client_ids for part in parts] == [(f"of {member}",) for member in both.hdf5.members]
        found = dict(named_leaves(parts[0].examples(parts[0].client_ids[0])))
        assert sorted(found) == sorted(f".{feature}" for feature in features)
        for feature, values in features.items():
            expected = np.asarray(values, object if isinstance(values, list) else None)
            assert found[f".{feature}"].dtype == expected.dtype
            np.testing.assert_array_equal(found[f".{feature}"], expected)
    assert server.asked == [getattr(both, layout).name], "the second time there is nothing to fetch"
    kept = both.hdf5.members if layout == "hdf5" else both.sqlite.members
    assert sorted(path.name for path in cache.iterdir()) == sorted(kept)


def test_the_files_are_those_of_tensorflow_federated() -> None:
    assert downloads.ORIGIN == "https://storage.googleapis.com/tff-datasets-public/"
    for module, name, _, _ in SETS:
        both = getattr(module, name)
        assert len(both.hdf5.sha256) == 64
        assert (both.hdf5.name.endswith(".tar.bz2"), both.sqlite.name.endswith(".sqlite.lzma")) == (True, True)
        assert len(both.hdf5.members) == len(both.splits)


def test_words_and_tags_are_counted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tarred({"stackoverflow.word_count": b"the 9\nof 5\nto 4\n"})
    tags = tarred({"stackoverflow.tag_count": json.dumps({"c": 2, "python": 7}).encode()})
    server.files = {stackoverflow.WORDS.name: words, stackoverflow.TAGS.name: tags}
    monkeypatch.setattr(stackoverflow, "WORDS", known(stackoverflow.WORDS, words))
    monkeypatch.setattr(stackoverflow, "TAGS", known(stackoverflow.TAGS, tags))
    counts = stackoverflow.load_word_counts(tmp_path, origin=server.origin)
    assert list(counts.items()) == [("the", 9), ("of", 5), ("to", 4)]
    assert list(stackoverflow.load_word_counts(tmp_path, 2, origin=server.origin)) == ["the", "of"]
    assert list(stackoverflow.load_tag_counts(tmp_path, origin=server.origin)) == ["python", "c"]
    with pytest.raises(fl.DiagnosticError, match="FED0709"):
        stackoverflow.load_word_counts(tmp_path, 0, origin=server.origin)
    (tmp_path / "stackoverflow.word_count").write_text("the nine\n")
    with pytest.raises(fl.DiagnosticError, match="FED0715"):
        stackoverflow.load_word_counts(tmp_path, origin=server.origin)


CONTENT = np.random.default_rng(0).bytes(300_000)
PACKED = tarred({"a.bin": CONTENT})
FILE = known(Published("a.tar.bz2", ("a.bin",)), PACKED)


def test_a_file_lies_in_its_place_when_it_is_whole(server: Server, tmp_path: Path) -> None:
    server.files["a.tar.bz2"] = PACKED
    (path,) = fetched(FILE, tmp_path, server.origin.rstrip("/"))
    assert path.read_bytes() == CONTENT


def test_a_packed_file_brought_by_hand_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(PACKED)
    (path,) = fetched(FILE, tmp_path, "http://127.0.0.1:1/")
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "a.tar.bz2").exists(), "who brought it may want to keep it"


def test_a_folder_can_be_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(PACKED)
    (path,) = fetched(FILE, tmp_path / "cache", tmp_path.as_uri())
    assert path.read_bytes() == CONTENT


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDLANG_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert downloads.cache_folder() == tmp_path / "cache" / "fedlang" / "data"
    monkeypatch.setenv("FEDLANG_DATA", str(tmp_path / "own"))
    (tmp_path / "a.tar.bz2").write_bytes(PACKED)
    assert fetched(FILE, origin=tmp_path.as_uri()) == (tmp_path / "own" / "a.bin",)


def nothing_kept(folder: Path) -> bool:
    return not folder.exists() or list(folder.iterdir()) == []


def test_without_a_connection_the_mend_is_told(tmp_path: Path) -> None:
    with pytest.raises(fl.DiagnosticError) as caught:
        fetched(FILE, tmp_path / "cache", "http://127.0.0.1:1/")
    (told,) = caught.value.diagnostics
    assert (told.code, told.title) == ("FED0719", "http://127.0.0.1:1/a.tar.bz2 cannot be downloaded")
    assert "refused" in told.notes[0]
    assert str(tmp_path / "cache" / "a.tar.bz2") in told.hint
    assert nothing_kept(tmp_path / "cache")


def test_what_the_server_refuses_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(fl.DiagnosticError, match=r"FED0719(.|\n)*Not Found"):
        fetched(FILE, tmp_path, server.origin)
    assert nothing_kept(tmp_path)


def test_a_broken_connection_is_told(server: Server, tmp_path: Path) -> None:
    server.files["a.tar.bz2"], server.promised = PACKED[:1000], len(PACKED) - 1000
    with pytest.raises(fl.DiagnosticError, match=r"FED0719(.|\n)*broke off after 1,000 of"):
        fetched(FILE, tmp_path, server.origin)
    assert nothing_kept(tmp_path)


def test_another_file_than_the_published_one_is_told(server: Server, tmp_path: Path) -> None:
    server.files["a.tar.bz2"] = changed = PACKED[:-1] + bytes([PACKED[-1] ^ 1])
    with pytest.raises(
        fl.DiagnosticError,
        match=rf"FED0720(.|\n)*{hashlib.sha256(changed).hexdigest()}(.|\n)*{FILE.sha256}(.|\n)*nothing was kept",
    ):
        fetched(FILE, tmp_path, server.origin)
    assert nothing_kept(tmp_path)
    (tmp_path / "a.tar.bz2").write_bytes(changed)
    with pytest.raises(fl.DiagnosticError, match=r"FED0720.*a.tar.bz2(.|\n)*delete it"):
        fetched(FILE, tmp_path, server.origin)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar.bz2", PACKED[:200_000]),
        ("a.tar.bz2", PACKED[:150_000] + b"\0" * 40 + PACKED[150_040:]),
        ("a.tar.bz2", b"no archive"),
        ("a.tar.bz2", bz2.compress(b"no tar file in it")),
        ("a.bin.lzma", lzma.compress(CONTENT, lzma.FORMAT_ALONE)[:200_000]),
        ("a.bin.lzma", b"no lzma file"),
    ],
)
def test_a_damaged_file_is_told(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(fl.DiagnosticError, match=rf"FED0715.*{name}(.|\n)*delete it"):
        fetched(Published(name, ("a.bin",)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_archive_of_other_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(PACKED)
    with pytest.raises(fl.DiagnosticError, match=r"FED0716.*`b.bin`(.|\n)*there is `a.bin`"):
        fetched(Published("a.tar.bz2", ("b.bin",)), tmp_path)


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(fl.DiagnosticError, match=r"FED0722(.|\n)*cache_dir"):
        fetched(FILE, tmp_path / "file" / "cache")


def test_a_layout_is_one_of_two(tmp_path: Path) -> None:
    with pytest.raises(fl.DiagnosticError, match=r"FED0709.*the layout is csv; it must be hdf5 or sqlite"):
        shakespeare.load_data(tmp_path, layout="csv")


def test_the_sample_of_shakespeare_needs_no_download() -> None:
    train, test = shakespeare.load_sample()
    assert train.client_ids == test.client_ids
    said = partition.field(train.examples("TWELFTH_NIGHT_SIR_TOBY"), "snippets")
    assert said[0].startswith("What a plague means my niece")
