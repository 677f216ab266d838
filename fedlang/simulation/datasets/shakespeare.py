"""Shakespeare's plays by speaking role: a sample that comes with fedlang, and the set of TensorFlow Federated."""

from __future__ import annotations

from fedlang.data.clients import ClientData
from fedlang.data.downloads import ORIGIN, Published
from fedlang.data.files import AnyPath
from fedlang.data.samples import load
from fedlang.simulation.datasets.loading import Both, load_parts

PUBLISHED = Both(
    Published(
        "shakespeare.tar.bz2",
        ("shakespeare_train.h5", "shakespeare_test.h5"),
        "0285be9906cb5f268092eee4edeeacfc2af4574f2941f7cc2f08a321d7f5c707",
    ),
    Published("shakespeare.sqlite.lzma", ("shakespeare.sqlite",)),
    ("train", "test"),
    {"snippets": "string"},
)


def load_data(
    cache_dir: AnyPath | None = None, *, layout: str = "hdf5", origin: str = ORIGIN
) -> tuple[ClientData, ClientData]:
    """Training and test text of the same 715 roles: 16,068 and 2,356 pieces (Caldas et al., "LEAF", 2018).

    Elements are `{snippets: string}`.

    `layout` is "hdf5", whose checksum is known, or "sqlite"; `origin` may be a mirror, such as `file:///data/`. Errors:
    `fedlang.data.downloads.fetched`.
    """
    train, test = load_parts(PUBLISHED, layout, cache_dir, origin)
    return train, test


def load_sample() -> tuple[ClientData, ClientData]:
    """Training and test speeches of the same 100 roles, without a download: 2,540 and 588 (`fedlang.data.samples`).

    Elements are `{snippets: string}`, as `load_data` has them. The plays are in the public domain.
    """
    speeches = load("shakespeare")
    return speeches.train, speeches.test
