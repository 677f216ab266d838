"""What TensorFlow Federated has classes and functions for to make, read and write client data.

A call of one of these classes gives client data itself, of the one kind or the other that all client data is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from fedlang.data.clients import ClientData
from fedlang.data.datasets import ClientDatasets
from fedlang.data.errors import unreadable_path
from fedlang.data.hdf5 import read_hdf5
from fedlang.data.sqlite import read_sqlite, write_sqlite


class FromTensorSlicesClientData:
    """Client data in memory: for each client arrays, or a dict or tuple of them, whose first axis counts examples."""

    def __new__(cls, tensor_slices_dict: Mapping[str, object]) -> ClientData:  # type: ignore[misc]
        """`ClientData` with sorted ids. `DiagnosticError` FED0702 to FED0708 names the client that is wrong."""
        return ClientData.from_dict({client: tensor_slices_dict[client] for client in sorted(tensor_slices_dict)})


class FilePerUserClientData:
    """Client data in one file for each client, read at each use."""

    def __new__(  # type: ignore[misc]
        cls, client_ids_to_files: Mapping[str, str | PathLike[str]], dataset_fn: Callable[[str], Any]
    ) -> ClientDatasets:
        """`ClientDatasets` with sorted ids; `dataset_fn` makes of a path a dataset, arrays or a list of elements."""
        paths = {client: Path(client_ids_to_files[client]) for client in sorted(client_ids_to_files)}

        def read(client: str) -> Any:
            try:
                with open(paths[client], "rb"):
                    pass
            except OSError as error:
                raise unreadable_path(paths[client], f"{error.strerror or error} (client {client})") from None
            return dataset_fn(str(paths[client]))

        return ClientDatasets(tuple(paths), read)

    @staticmethod
    def create_from_dir(path: str | PathLike[str], create_tf_dataset_fn: Callable[[str], Any]) -> ClientDatasets:
        """The files of a folder, each a client called by the file's name. FED0714 for a folder that cannot be read."""
        try:
            files = {file.name: file for file in Path(path).iterdir() if file.is_file()}
        except OSError as error:
            raise unreadable_path(path, error.strerror or str(error)) from None
        return FilePerUserClientData(files, create_tf_dataset_fn)


class HDF5ClientData:
    """Client data in a file of the layout `/examples/CLIENT/FEATURE`, read one client at a time."""

    def __new__(cls, database_filepath: str | PathLike[str]) -> ClientData:  # type: ignore[misc]
        """`fedlang.data.hdf5.read_hdf5`, with its errors."""
        return read_hdf5(database_filepath)


class SqlClientData:
    """Client data in a database with the tables `examples` and `client_metadata`, read one client at a time.

    Unlike TensorFlow Federated's, elements are examples and not messages: without an `element_spec`, as they are found.
    """

    def __new__(  # type: ignore[misc]
        cls,
        database_filepath: str | PathLike[str],
        split_name: str | None = None,
        element_spec: Mapping[str, Any] | None = None,
    ) -> ClientData:
        """`fedlang.data.sqlite.read_sqlite`, with its errors."""
        return read_sqlite(database_filepath, split_name, element_spec)


def load_and_parse_sql_client_data(
    database_filepath: str | PathLike[str], element_spec: Mapping[str, Any], split_name: str | None = None
) -> ClientData:
    """`fedlang.data.sqlite.read_sqlite`, with `tf.TensorSpec`s for the features."""
    return read_sqlite(database_filepath, split_name, element_spec)


def save_to_sql_client_data(
    client_ids: Iterable[str],
    dataset_fn: Callable[[str], Any],
    database_filepath: str | PathLike[str],
    allow_overwrite: bool = False,
) -> None:
    """`fedlang.data.sqlite.write_sqlite` for datasets that a function makes from ids."""
    write_sqlite(database_filepath, ClientDatasets(tuple(client_ids), dataset_fn), overwrite=allow_overwrite)
