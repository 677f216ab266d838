"""What the loaders of published data sets share: the file in one of two layouts, and the parts it is read as.

TensorFlow Federated published each set twice. The packed HDF5 files of its first years have SHA-256 sums, which are
checked; the packed SQLite files of later years have none, and are checked as far as their compression does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedlang.data.clients import ClientData
from fedlang.data.downloads import Published, fetched
from fedlang.data.errors import wrong_count
from fedlang.data.files import AnyPath
from fedlang.data.hdf5 import read_hdf5
from fedlang.data.sqlite import read_sqlite

LAYOUTS = ("hdf5", "sqlite")


@dataclass(frozen=True)
class Both:
    """A set as it was published: HDF5 files, one for each part; or one SQLite file, its splits, and their features."""

    hdf5: Published
    sqlite: Published
    splits: tuple[str, ...]
    spec: Mapping[str, Any]


def load_parts(both: Both, layout: str, cache_dir: AnyPath | None, origin: str) -> tuple[ClientData, ...]:
    """The parts of a set, downloaded where they are not in the cache. `DiagnosticError` FED0709 for another layout."""
    if layout not in LAYOUTS:
        raise wrong_count("the layout", layout, " or ".join(LAYOUTS))
    if layout == "hdf5":
        return tuple(read_hdf5(path) for path in fetched(both.hdf5, cache_dir, origin))
    (path,) = fetched(both.sqlite, cache_dir, origin)
    return tuple(read_sqlite(path, split, both.spec) for split in both.splits)
