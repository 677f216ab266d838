"""TensorFlow Federated's HDF5 layout: `/examples/CLIENT/FEATURE`, an array whose first axis counts the examples.

    read_hdf5("fed_emnist_digitsonly_train.h5")

Needs h5py, the extra `data`. A file is opened for each client that is read, and closed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedlang.data.clients import ClientData
from fedlang.data.convert import examples_of
from fedlang.data.datasets import ClientDatasets
from fedlang.data.errors import cannot_write, damaged_file, missing_library, missing_part
from fedlang.data.features import Feature, features_of, verify_feature
from fedlang.data.files import AnyPath, flat_record, stacked, verify_readable, written
from fedlang.data.trees import Examples
from fedlang.run.sequences import Array

ROOT = "examples"


def read_hdf5(path: AnyPath, spec: Mapping[str, Any] | None = None) -> ClientData:
    """Client data in a file, ids and features sorted, each client read when it is asked for.

    With a `spec` (`features.features_of`) the features must be those, of those dtypes and shapes. `DiagnosticError`
    FED0714 to FED0717, now or when a client is read, for a file that cannot be read or is not in this layout.
    """
    place, features = verify_readable(path), features_of(spec)
    with _opened(place) as file:
        ids = tuple(sorted(_root(place, file)))
    return ClientData.from_function(ids, lambda client: _client(place, client, features))


def write_hdf5(path: AnyPath, data: ClientData | ClientDatasets, *, overwrite: bool = False) -> None:
    """Writes the data, one client at a time; the file is there when it is complete. Strings are written as UTF-8.

    `DiagnosticError` FED0722 for data that is no flat record of features, and where the file cannot be written.
    """
    h5py, whole = _h5py(), stacked(data)
    with written(path, overwrite=overwrite) as draft, h5py.File(draft, "w") as file:
        root = file.create_group(ROOT)
        for client in whole:
            if "/" in client or client in ("", "."):
                raise cannot_write(path, f"`{client}` is no name of a group", hint="rename the client")
            group = root.create_group(client)
            for name, array in flat_record(path, client, whole.examples(client)).items():
                group.create_dataset(name, data=array, dtype=_stored(h5py, array))


def _stored(h5py: Any, array: Array) -> Any:
    return h5py.string_dtype() if array.dtype == object else array.dtype


def _client(path: Path, client: str, features: dict[str, Feature] | None) -> Examples:
    with _opened(path) as file:
        group = _root(path, file)[client]
        known = [name for name in sorted(group) if hasattr(group[name], "shape")] if hasattr(group, "keys") else []
        if not known:
            raise missing_part(path, f"feature of client {client}", ())
        for name in features or ():
            if name not in known:
                raise missing_part(path, f"feature `{name}` of client {client}", known)
        try:
            arrays = {name: group[name][()] for name in features or known}
        except (OSError, KeyError) as error:
            raise damaged_file(path, "HDF5", f"client {client}: {error}") from None
    examples = examples_of(client, arrays)
    assert isinstance(examples, dict)
    for name, feature in (features or {}).items():
        leaf = examples[name]
        assert not isinstance(leaf, (dict, tuple))
        verify_feature(client, name, leaf, feature)
    return examples


def _opened(path: Path) -> Any:
    try:
        return _h5py().File(path, "r")
    except OSError as error:
        raise damaged_file(path, "HDF5", str(error)) from None


def _root(path: Path, file: Any) -> Any:
    if ROOT not in file or not hasattr(file[ROOT], "keys"):
        raise missing_part(path, f"group `/{ROOT}`", [f"/{name}" for name in file])
    return file[ROOT]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise missing_library("h5py", "data") from None
    return h5py
