"""Data for simulated federations, under the names that users of TensorFlow Federated know.

train, test = fl.simulation.datasets.mnist.load_data()
process.next(state, [train.create_tf_dataset_for_client(client).batch(20) for client in train.client_ids[:10]])

Names are loaded when they are first used; what they do lies in `fedlang.data`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedlang.data import partition
    from fedlang.data.clients import ClientData
    from fedlang.data.datasets import ClientDatasets
    from fedlang.data.hdf5 import read_hdf5, write_hdf5
    from fedlang.data.leaf import read_leaf, write_leaf
    from fedlang.data.pictures import plot_partition
    from fedlang.data.sqlite import read_sqlite, write_sqlite
    from fedlang.simulation import datasets
    from fedlang.simulation.client_data import (
        FilePerUserClientData,
        FromTensorSlicesClientData,
        HDF5ClientData,
        SqlClientData,
        load_and_parse_sql_client_data,
        save_to_sql_client_data,
    )
    from fedlang.simulation.sampling import build_uniform_sampling_fn

_HOMES = {
    "ClientData": "fedlang.data.clients",
    "ClientDatasets": "fedlang.data.datasets",
    "FilePerUserClientData": "fedlang.simulation.client_data",
    "FromTensorSlicesClientData": "fedlang.simulation.client_data",
    "HDF5ClientData": "fedlang.simulation.client_data",
    "SqlClientData": "fedlang.simulation.client_data",
    "build_uniform_sampling_fn": "fedlang.simulation.sampling",
    "load_and_parse_sql_client_data": "fedlang.simulation.client_data",
    "plot_partition": "fedlang.data.pictures",
    "read_hdf5": "fedlang.data.hdf5",
    "read_leaf": "fedlang.data.leaf",
    "read_sqlite": "fedlang.data.sqlite",
    "save_to_sql_client_data": "fedlang.simulation.client_data",
    "write_hdf5": "fedlang.data.hdf5",
    "write_leaf": "fedlang.data.leaf",
    "write_sqlite": "fedlang.data.sqlite",
}
_MODULES = {"datasets": "fedlang.simulation.datasets", "partition": "fedlang.data.partition"}

__all__ = [
    "ClientData",
    "ClientDatasets",
    "FilePerUserClientData",
    "FromTensorSlicesClientData",
    "HDF5ClientData",
    "SqlClientData",
    "build_uniform_sampling_fn",
    "datasets",
    "load_and_parse_sql_client_data",
    "partition",
    "plot_partition",
    "read_hdf5",
    "read_leaf",
    "read_sqlite",
    "save_to_sql_client_data",
    "write_hdf5",
    "write_leaf",
    "write_sqlite",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
