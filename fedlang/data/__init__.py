"""Client data: who the clients are and what each of them holds. NumPy is imported when something here is first used.

data = load("mnist")
data.train.first(10).batches(20, shuffle_seed=1)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedlang.data.clients import ClientData, ClientSequences, client_sequences
    from fedlang.data.datasets import ClientDatasets
    from fedlang.data.pictures import plot_partition
    from fedlang.data.samples import Federated, load

_HOMES = {
    "ClientData": "clients",
    "ClientDatasets": "datasets",
    "ClientSequences": "clients",
    "Federated": "samples",
    "client_sequences": "clients",
    "load": "samples",
    "plot_partition": "pictures",
}

__all__ = ["ClientData", "ClientDatasets", "ClientSequences", "Federated", "client_sequences", "load", "plot_partition"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
