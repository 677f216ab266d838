"""Federated EMNIST: handwritten digits and letters by their writers (Caldas et al., "LEAF", 2018)."""

from __future__ import annotations

from fedlang.data.clients import ClientData
from fedlang.data.downloads import ORIGIN, Published
from fedlang.data.files import AnyPath
from fedlang.simulation.datasets.loading import Both, load_parts

SPEC = {"label": "int32", "pixels": ("float32", (28, 28))}
SQLITE = Published("emnist_all.sqlite.lzma", ("emnist_all.sqlite",))
DIGITS = Both(
    Published(
        "fed_emnist_digitsonly.tar.bz2",
        ("fed_emnist_digitsonly_train.h5", "fed_emnist_digitsonly_test.h5"),
        "55333deb8546765427c385710ca5e7301e16f4ed8b60c1dc5ae224b42bd5b14b",
    ),
    SQLITE,
    ("digits_only_train", "digits_only_test"),
    SPEC,
)
ALL = Both(
    Published(
        "fed_emnist.tar.bz2",
        ("fed_emnist_train.h5", "fed_emnist_test.h5"),
        "fe1ed5a502cea3a952eb105920bff8cffb32836b5173cb18a57a32c3606f3ea0",
    ),
    SQLITE,
    ("all_train", "all_test"),
    SPEC,
)


def load_data(
    only_digits: bool = True, cache_dir: AnyPath | None = None, *, layout: str = "hdf5", origin: str = ORIGIN
) -> tuple[ClientData, ClientData]:
    """Training and test characters of the same writers: 3,383 with the ten digits alone, 3,400 with all 62 characters.

    Elements are `{label: int32, pixels: float32[28, 28]}`; the paper is 1.0 and the ink 0.0. 341,873 and 40,832 are
    digits; all characters are 671,585 and 77,483.

    `layout` is "hdf5", whose checksum is known, or "sqlite"; `origin` may be a mirror, such as `file:///data/`. Errors:
    `fedlang.data.downloads.fetched`.
    """
    train, test = load_parts(DIGITS if only_digits else ALL, layout, cache_dir, origin)
    return train, test
