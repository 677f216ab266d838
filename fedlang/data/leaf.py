"""LEAF's JSON layout (Caldas et al., "LEAF: a benchmark for federated settings", 2018): files, or a folder of them.

    {"users": ["a", …], "num_samples": [3, …], "user_data": {"a": {"x": […], "y": […]}, …}}

JSON has no dtypes: a feature whose numbers are whole for all clients becomes int32 (int64 where one does not fit),
other numbers become float32. A client without examples takes dtypes and shapes from the others. A file is read whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedlang.data.clients import ClientData
from fedlang.data.convert import examples_of
from fedlang.data.datasets import ClientDatasets
from fedlang.data.errors import damaged_file, missing_part, unreadable_path
from fedlang.data.files import AnyPath, flat_record, stacked, verify_readable, written
from fedlang.data.leaf_dtypes import agreed
from fedlang.data.trees import Examples, count_examples

PARTS = {"users": list, "num_samples": list, "user_data": dict}
KINDS = {list: "a list", dict: "an object", str: "text", int: "a number", float: "a number", type(None): "null"}


def read_leaf(path: AnyPath) -> ClientData:
    """Client data of a file, or of all `.json` files of a folder, ids sorted.

    `DiagnosticError` FED0714 to FED0716 for a file that cannot be read or is not in this layout, FED0620 for a user
    who is in two files, FED0702 to FED0708 for data that no tensor holds, FED0712 and FED0717 for clients that differ.
    """
    clients = [each for file in _files(Path(path)) for each in _clients(file)]
    data = agreed(dict(clients))
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
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if file.suffix == ".json")
    except OSError as error:
        raise unreadable_path(path, error.strerror or str(error)) from None
    if not files:
        raise missing_part(path, "file that ends in `.json`", ())
    return files


def _clients(path: Path) -> list[tuple[str, Examples]]:
    """Each user of a file and the user's examples."""
    try:
        content = json.loads(verify_readable(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, "JSON", str(error)) from None
    for part, kind in PARTS.items():
        if not isinstance(content, dict) or part not in content:
            raise missing_part(path, f"key `{part}`", tuple(content) if isinstance(content, dict) else ())
        _verify_kind(path, f"`{part}`", content[part], kind)
    users, counts, data = (content[part] for part in PARTS)
    if len(counts) != len(users):
        raise damaged_file(path, "LEAF", f"there are {len(users)} users and {len(counts)} numbers of samples")
    return [(str(user), _user(path, str(user), count, data)) for user, count in zip(users, counts, strict=True)]


def _user(path: Path, user: str, count: object, data: dict[str, Any]) -> Examples:
    if user not in data:
        raise missing_part(path, f"entry for `{user}` in `user_data`", sorted(data)[:10])
    _verify_kind(path, f"the entry for `{user}` in `user_data`", data[user], dict)
    examples = examples_of(user, dict(sorted(data[user].items())))
    found = count_examples(examples)
    if found != count:
        raise damaged_file(path, "LEAF", f"`{user}` has {found} examples, and {count} by `num_samples`")
    return examples


def _verify_kind(path: Path, what: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise damaged_file(path, "LEAF", f"{what} is {KINDS.get(type(value), 'true or false')}, not {KINDS[kind]}")
