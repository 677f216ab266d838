"""Published files: fetched once, checked, unpacked into a folder, and read from there ever after.

A file is in its place only when it is whole: it is written under another name, compared with its checksum where one was
published, and renamed. What lies in the folder already is used without a connection, the packed file as well as what
was unpacked from it.
"""

from __future__ import annotations

import hashlib
import http.client
import lzma
import os
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from fedlang.data.errors import cannot_write, damaged_file, missing_part, no_download, wrong_checksum
from fedlang.data.files import AnyPath, written

ORIGIN = "https://storage.googleapis.com/tff-datasets-public/"
CHUNK = 1 << 20
PATIENCE = 60  # seconds without a byte


@dataclass(frozen=True)
class Published:
    """A packed file and the files in it. `.lzma` files hold one file, and have no published checksum."""

    name: str
    members: tuple[str, ...]
    sha256: str | None = None


def fetched(published: Published, cache_dir: AnyPath | None = None, origin: str = ORIGIN) -> tuple[Path, ...]:
    """Where the members lie, after they have been downloaded from below `origin` if they were not there.

    `cache_dir` is `cache_folder()` unless given. `DiagnosticError` FED0719 without a connection, FED0720 for another
    file than the published one, FED0715 and FED0716 for one that cannot be unpacked, FED0722 where nothing can be kept.
    """
    folder = Path(cache_dir) if cache_dir is not None else cache_folder()
    members = tuple(folder / member for member in published.members)
    if all(member.exists() for member in members):
        return members
    packed = folder / published.name
    if packed.exists():
        _verify_checksum(packed, _digest(packed), published.sha256, "delete it, and load the data again")
        _unpack(packed, published.members)
        return members
    _make(folder)
    _download(origin.rstrip("/") + "/" + published.name, packed, published.sha256)
    _unpack(packed, published.members)
    packed.unlink(missing_ok=True)
    return members


def cache_folder() -> Path:
    """`FEDLANG_DATA` where it is set; else `fedlang` in the user's cache."""
    if "FEDLANG_DATA" in os.environ:
        return Path(os.environ["FEDLANG_DATA"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedlang" / "data"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error.strerror or str(error), hint="give another `cache_dir`") from None


def _download(url: str, target: Path, sha256: str | None) -> None:
    """The file of the address, whole and checked."""
    digest = hashlib.sha256()
    with written(target, overwrite=True) as draft, open(draft, "wb") as file:
        for chunk in _chunks(url, target):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        hint = "nothing was kept of it: load the data again, or from another `origin`"
        _verify_checksum(url, digest.hexdigest(), sha256, hint)


def _chunks(url: str, target: Path) -> Iterator[bytes]:
    """The bytes behind an address, while a bar shows how many are there."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            size = response.headers.get("Content-Length")
            with _bar(target.name, int(size) if size else None) as bar:
                yield from _read(response, int(size) if size else None, bar)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise no_download(url, str(why), target) from None


class _Bar(Protocol):
    """Is told how many bytes came."""

    def __call__(self, count: int) -> None: ...


def _read(response: Any, size: int | None, bar: _Bar) -> Iterator[bytes]:
    count = 0
    while chunk := response.read(CHUNK):
        count += len(chunk)
        bar(len(chunk))
        yield chunk
    if size is not None and count != size:
        raise OSError(f"the connection broke off after {count:,} of {size:,} bytes")


@contextmanager
def _bar(name: str, size: int | None) -> Iterator[_Bar]:
    """A progress bar on standard error; none where that is no terminal."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
    with shown:
        task = shown.add_task(name, total=size)
        yield lambda count: shown.advance(task, count)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify_checksum(path: object, found: str, needed: str | None, hint: str) -> None:
    if needed is not None and found != needed:
        raise wrong_checksum(path, found, needed, hint)


def _unpack(packed: Path, members: tuple[str, ...]) -> None:
    """Puts the members beside the packed file."""
    with _damage_told(packed):
        if packed.suffix == ".lzma":
            with lzma.open(packed) as source:
                _keep(packed, source, packed.with_name(members[0]))
            return
        with tarfile.open(packed) as archive:
            for member in members:
                _keep(packed, _member(packed, archive, member), packed.with_name(member))


def _member(packed: Path, archive: tarfile.TarFile, name: str) -> IO[bytes]:
    names = archive.getnames()
    for held in names:
        if Path(held).name == name and (source := archive.extractfile(held)) is not None:
            return source
    raise missing_part(packed, f"file `{name}` in it", names)


def _keep(packed: Path, source: IO[bytes], target: Path) -> None:
    """A member under its own name. Damage of the packed file is told apart from a disk that is full."""
    with source, written(target, overwrite=True) as draft, open(draft, "wb") as file:
        while chunk := _next(packed, source):
            file.write(chunk)


def _next(packed: Path, source: IO[bytes]) -> bytes:
    with _damage_told(packed):
        return source.read(CHUNK)
    raise AssertionError("a read gives bytes or raises")


@contextmanager
def _damage_told(packed: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        hint = "delete it, and load the data again"
        raise damaged_file(packed, packed.suffix[1:], str(error) or "it ends too early", hint) from None
