"""CIFAR-100 dealt out to made-up clients by Pachinko allocation.

Source: Reddi et al., "Adaptive federated optimization", 2021.
"""

from __future__ import annotations

from fedlang.data.clients import ClientData
from fedlang.data.downloads import ORIGIN, Published
from fedlang.data.files import AnyPath
from fedlang.simulation.datasets.loading import Both, load_parts

PUBLISHED = Both(
    Published(
        "fed_cifar100.tar.bz2",
        ("fed_cifar100_train.h5", "fed_cifar100_test.h5"),
        "e8575e22c038ecef1ce6c7d492d7abee7da13b1e1ba9b70a7fc18531ba7590de",
    ),
    Published("cifar100.sqlite.lzma", ("cifar100.sqlite",)),
    ("train", "test"),
    {"coarse_label": "int64", "image": ("uint8", (32, 32, 3)), "label": "int64"},
)


def load_data(
    cache_dir: AnyPath | None = None, *, layout: str = "hdf5", origin: str = ORIGIN
) -> tuple[ClientData, ClientData]:
    """500 training clients and 100 other test clients, with 100 images each.

    Elements are `{coarse_label: int64, image: uint8[32, 32, 3], label: int64}`, of 20 and 100 classes.

    `layout` is "hdf5", whose checksum is known, or "sqlite"; `origin` may be a mirror, such as `file:///data/`. Errors:
    `fedlang.data.downloads.fetched`.
    """
    train, test = load_parts(PUBLISHED, layout, cache_dir, origin)
    return train, test
