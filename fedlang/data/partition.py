"""Ways to deal examples out to clients, for experiments on data that has no clients of its own.

Each takes stacked examples (`trees.Examples`) and gives `ClientData`; every example goes to exactly one client, and the
same seed deals the same way everywhere. A heterogeneity so made is synthetic: say so where you report results.

    iid        shuffled, equal sizes
    by_size    shuffled, log-normal sizes
    dirichlet  each label spread over the clients by Dirichlet shares (Yurochkin et al. 2019)
    shards     sorted by label and cut in shards, a few for each client (McMahan et al. 2017)
    by_key     one client for each value of a field
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedlang.data import draws
from fedlang.data.clients import ClientData
from fedlang.data.errors import unknown_field, wrong_count
from fedlang.data.trees import Examples, count_examples, map_leaves
from fedlang.run.random import Words, key_of_seed, random_at, random_permutation
from fedlang.run.sequences import Array

Places = NDArray[np.int64]


def iid(examples: Examples, clients: int, *, seed: int = 0) -> ClientData:
    """Equal shares of the shuffled examples; sizes differ by one at most."""
    order = _shuffled(_key(clients, seed), count_examples(examples))
    return _dealt(examples, numbered(clients), np.array_split(order, clients))


def by_size(examples: Examples, clients: int, *, sigma: float = 1.0, seed: int = 0) -> ClientData:
    """Shares of the shuffled examples whose sizes have a logarithm of deviation `sigma`; at least one example each."""
    key, count = _key(clients, seed), count_examples(examples)
    if count < clients:
        raise wrong_count("the number of clients", clients, f"at most {count}, the number of examples")
    sizes = 1 + draws.apportion(draws.log_normal(random_at(key, 0), sigma, clients), count - clients)
    return _dealt(examples, numbered(clients), _cut(_shuffled(random_at(key, 1), count), sizes))


def dirichlet(examples: Examples, clients: int, *, alpha: float = 0.5, key: str = "y", seed: int = 0) -> ClientData:
    """Each value of the field `key` spread by Dirichlet(`alpha`) shares.

    The smaller `alpha`, the fewer labels a client has; some may be left without examples.
    """
    if not alpha > 0:
        raise wrong_count("alpha", alpha, "more than 0")
    root = _key(clients, seed)
    parts: list[list[Places]] = [[] for _ in range(clients)]
    for label, places in enumerate(_groups(field(examples, key)).values()):
        own = random_at(root, label)
        sizes = draws.apportion(draws.dirichlet(random_at(own, 0), alpha, clients), len(places))
        for part, piece in zip(parts, _cut(places[_shuffled(random_at(own, 1), len(places))], sizes), strict=True):
            part.append(piece)
    return _dealt(examples, numbered(clients), [_joined(part) for part in parts])


def shards(examples: Examples, clients: int, *, per_client: int = 2, key: str = "y", seed: int = 0) -> ClientData:
    """The examples sorted by the field `key` and cut in equal shards, `per_client` of them for each client."""
    if per_client < 1:
        raise wrong_count("the number of shards for a client", per_client, "1 or more")
    root = _key(clients, seed)
    pieces = np.array_split(_joined(list(_groups(field(examples, key)).values())), clients * per_client)
    order = _shuffled(root, len(pieces)).reshape(clients, per_client)
    return _dealt(examples, numbered(clients), [_joined([pieces[place] for place in row]) for row in order])


def by_key(examples: Examples, key: str) -> ClientData:
    """One client for each value of the field `key`, called by that value, in sorted order; the field stays."""
    groups = _groups(field(examples, key))
    return _dealt(examples, tuple(groups), list(groups.values()))


def field(examples: Examples, name: str) -> Array:
    """A field of a record of examples. `DiagnosticError` FED0710 if there is no such leaf."""
    leaf = examples.get(name) if isinstance(examples, dict) else None
    if leaf is None or isinstance(leaf, (dict, tuple)):
        raise unknown_field(name, tuple(examples) if isinstance(examples, dict) else ())
    return leaf


def numbered(clients: int) -> tuple[str, ...]:
    """Names for clients that sort as they are counted: `client_00`, `client_01` …"""
    width = len(str(clients - 1))
    return tuple(f"client_{index:0{width}d}" for index in range(clients))


def _key(clients: int, seed: int) -> Words:
    if clients < 1:
        raise wrong_count("the number of clients", clients, "1 or more")
    return key_of_seed(seed)


def _shuffled(key: Words, count: int) -> Places:
    return random_permutation(key, count).astype(np.int64)


def _groups(values: Array) -> dict[str, Places]:
    """The places of each value, values sorted."""
    distinct, codes = np.unique(values, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=len(distinct))
    return {str(value): places for value, places in zip(distinct, _cut(order, sizes), strict=True)}


def _cut(places: Places, sizes: NDArray[np.int64]) -> list[Places]:
    return np.split(places, np.cumsum(sizes)[:-1])


def _joined(parts: Sequence[Places]) -> Places:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _dealt(examples: Examples, names: Sequence[str], parts: Sequence[Places]) -> ClientData:
    """Client data whose clients hold the examples at these places, gathered when they are read."""
    places = dict(zip(names, parts, strict=True))
    return ClientData(tuple(names), lambda client: map_leaves(lambda leaf: leaf[places[client]], examples))
