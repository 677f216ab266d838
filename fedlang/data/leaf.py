"""LEAF's JSON layout (Caldas et al., "LEAF: a benchmark for federated settings", 2018): files, or a folder of them.

    {"users": ["a", …], "num_samples": [3, …], "user_data": {"a": {"x": […], "y": […]}, …}}

JSON has no dtypes: whole numbers become int32 (int64 where one does not fit), other numbers float32. A file is read
whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fedlang.data.clients import ClientData
from fedlang.data.convert import examples_of
from fedlang.data.datasets import ClientDatasets
from fedlang.data.errors import damaged_file, missing_part, unreadable_path
from fedlang.data.files import AnyPath, flat_record, stacked, verify_readable, written
from fedlang.data.trees import map_leaves
from fedlang.run.sequences import Array

PARTS = ("users", "num_samples", "user_data")


def read_leaf(path: AnyPath) -> ClientData:
    """Client data of a file, or of all `.json` files of a folder, ids sorted.

    `DiagnosticError` FED0714 to FED0716 for a file that cannot be read or is not in this layout, FED0620 for a user
    who is in two files, FED0702 to FED0708 for data that no tensor holds.
    """
    clients = [each for file in _files(Path(path)) for each in _clients(file)]
    data = dict(clients)
    return ClientData(tuple(sorted(client for client, _ in clients)), data.__getitem__)


def write_leaf(path: AnyPath, data: ClientData | ClientDatasets, *, overwrite: bool = False) -> None:
    """Writes the data to one file, which is there when it is complete. FED0722 for data that is no flat record."""
    whole = stacked(data)
    records = {client: flat_record(path, client, whole.examples(client)) for client in whole}
    content = {
        "users": list(records),
        "num_samples": [len(next(iter(record.values()))) for record in records.values()],
        "user_data": {
            client: {name: array.tolist() for name, array in record.items()} for client, record in records.items()
        },
    }
    with written(path, overwrite=overwrite) as draft, open(draft, "w", encoding="utf-8") as file:
        json.dump(content, file)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix == ".json")
    except OSError as error:
        raise unreadable_path(path, error.strerror or str(error)) from None
    if not files:
        raise missing_part(path, "file that ends in `.json`", ())
    return files


def _clients(path: Path) -> list[tuple[str, Any]]:
    """Each user of a file and the user's examples."""
    try:
        content = json.loads(verify_readable(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, "JSON", str(error)) from None
    for part in PARTS:
        if not isinstance(content, dict) or part not in content:
            raise missing_part(path, f"key `{part}`", tuple(content) if isinstance(content, dict) else ())
    users, counts, data = (content[part] for part in PARTS)
    if len(counts) != len(users):
        raise damaged_file(path, "LEAF", f"there are {len(users)} users and {len(counts)} numbers of samples")
    return [(str(user), _user(path, str(user), count, data)) for user, count in zip(users, counts, strict=True)]


def _user(path: Path, user: str, count: int, data: dict[str, Any]) -> Any:
    if user not in data:
        raise missing_part(path, f"entry for `{user}` in `user_data`", sorted(data)[:10])
    examples = map_leaves(_narrowed, examples_of(user, dict(sorted(data[user].items()))))
    found = len(next(iter(examples.values()))) if isinstance(examples, dict) else 0
    if found != count:
        raise damaged_file(path, "LEAF", f"`{user}` has {found} examples, and {count} by `num_samples`")
    return examples


def _narrowed(array: Array) -> Array:
    if array.dtype == np.int64 and np.array_equal(array, array.astype(np.int32)):
        return array.astype(np.int32)
    return array.astype(np.float32) if array.dtype == np.float64 else array
