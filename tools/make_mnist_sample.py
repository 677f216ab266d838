"""Makes `fedlang/data/mnist.npz`, the sample of MNIST that comes with fedlang, from a file with all of it.

    python tools/make_mnist_sample.py FULL.npz [SAMPLE.npz]

FULL.npz has the arrays `x` (uint8[60000, 28, 28]), `y`, `tx` (uint8[10000, 28, 28]) and `ty`, in MNIST's own order.
The same input gives the same arrays on every machine, and the same file wherever zlib compresses alike.

64 clients have log-normal sizes and each its own mix of digits from Dirichlet(0.5). Training digits are taken from
MNIST's training set and test digits from its test set, each at most once. The first ten clients have 972 and 116 of
them together.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedlang.data import draws
from fedlang.data.partition import numbered
from fedlang.run.random import Words, key_of_seed, random_at, random_permutation

SEED = 65
CLIENTS = 64
SIGMA = 1.1
ALPHA = 0.5
FIRST = 10
TRAIN = (972, 4700)
TEST = (116, 560)
SIZES_FROM, MIXES_FROM, DIGITS_FROM = range(3)

Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]


def main() -> None:
    """Reads the whole set, writes the sample, says what is in it."""
    parser = argparse.ArgumentParser(description="Make the sample of MNIST that comes with fedlang.")
    parser.add_argument("full", type=Path, help="an .npz file with x, y, tx and ty")
    parser.add_argument("sample", type=Path, nargs="?", default=Path(__file__).parent.parent / "fedlang/data/mnist.npz")
    arguments = parser.parse_args()
    with np.load(arguments.full) as full:
        members = sample(full["x"], full["y"], full["tx"], full["ty"])
    arguments.sample.write_bytes(archive(members))
    print(f"{arguments.sample}: {CLIENTS} clients, {arguments.sample.stat().st_size:,} bytes")


def sample(x: Bytes, y: Bytes, test_x: Bytes, test_y: Bytes) -> dict[str, Bytes]:
    """The arrays of the sample by name."""
    key = key_of_seed(SEED)
    weights = draws.log_normal(random_at(key, SIZES_FROM), SIGMA, CLIENTS)
    mixes = np.stack([draws.dirichlet(random_at(random_at(key, MIXES_FROM), c), ALPHA, 10) for c in range(CLIENTS)])
    members: dict[str, Bytes] = {}
    for part, images, labels, totals in (("train", x, y, TRAIN), ("test", test_x, test_y, TEST)):
        counts = digit_counts(mixes, client_sizes(weights, totals))
        chosen = deal(random_at(random_at(key, DIGITS_FROM), len(images)), labels, counts)
        for client, places in zip(numbered(CLIENTS), chosen, strict=True):
            members[f"{client}.{part}.pixels"] = images[places]
            members[f"{client}.{part}.y"] = labels[places]
    return members


def client_sizes(weights: NDArray[np.float64], totals: tuple[int, int]) -> Counts:
    """Sizes in proportion to the weights, at least one each; the first ten and the others have a total each."""
    groups = ((weights[:FIRST], totals[0]), (weights[FIRST:], totals[1]))
    return np.concatenate([1 + draws.apportion(part, total - len(part)) for part, total in groups])


def digit_counts(mixes: NDArray[np.float64], sizes: Counts) -> Counts:
    """How many of each digit each client has."""
    return np.stack([draws.apportion(mix, int(size)) for mix, size in zip(mixes, sizes, strict=True)])


def deal(key: Words, labels: Bytes, counts: Counts) -> list[Counts]:
    """The places in the set of each client's digits, no place twice; a client's digits are in the order of the set."""
    pieces = []
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        shuffled = places[random_permutation(random_at(key, digit), len(places))]
        assert counts[:, digit].sum() <= len(shuffled), "the set has enough of each digit"
        pieces.append(np.split(shuffled, np.cumsum(counts[:, digit]))[:-1])
    return [np.sort(np.concatenate(own)) for own in zip(*pieces, strict=True)]


def archive(members: dict[str, Bytes]) -> bytes:
    """A zip file of `.npy` arrays without dates or permissions of this machine."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, array in members.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.compress_type, entry.external_attr = 3, zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(entry, content.getvalue(), compresslevel=9)
    return target.getvalue()


if __name__ == "__main__":
    main()
