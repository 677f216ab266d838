"""TensorFlow Federated's SQLite layout: a row of `examples` for each example, of `client_metadata` for each client.

    examples(split_name TEXT, client_id TEXT, serialized_example_proto BLOB)
    client_metadata(client_id TEXT, split_name TEXT, num_examples INTEGER)

An example is a `tf.train.Example` message (`proto`), which keeps neither shapes nor small dtypes: these come from a
`spec`, or from the table `features(name TEXT, dtype TEXT, shape TEXT)`, which `write_sqlite` adds and TensorFlow
Federated does not look at. A connection is made for each client that is read, and closed again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fedlang.data.clients import ClientData
from fedlang.data.datasets import ClientDatasets
from fedlang.data.errors import (
    cannot_write,
    damaged_file,
    missing_part,
    no_elements,
    other_fields,
    shapes_differ,
    structures_differ,
    unknown_split,
    wrong_feature,
)
from fedlang.data.features import Feature, feature_of, features_of, verify_feature
from fedlang.data.files import AnyPath, flat_record, stacked, verify_readable, written
from fedlang.data.proto import parse_example, print_example
from fedlang.data.trees import Examples
from fedlang.run.sequences import Array

COLUMNS = {
    "examples": ("split_name", "client_id", "serialized_example_proto"),
    "client_metadata": ("client_id", "split_name", "num_examples"),
}
ONE_SPLIT = "default_split"

SCHEMA = """
CREATE TABLE examples (split_name TEXT NOT NULL, client_id TEXT NOT NULL, serialized_example_proto BLOB NOT NULL);
CREATE TABLE client_metadata (client_id TEXT NOT NULL, split_name TEXT NOT NULL, num_examples INTEGER NOT NULL);
CREATE TABLE features (name TEXT NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL);
CREATE INDEX examples_of_client ON examples (client_id, split_name);
CREATE INDEX clients_of_split ON client_metadata (split_name, client_id);
"""


def read_sqlite(path: AnyPath, split: str | None = None, spec: Mapping[str, Any] | None = None) -> ClientData:
    """Client data of one split, or of all without one; ids and features sorted, each client read when it is asked for.

    `spec` says what the features are (`features.features_of`); without it and without a table `features`, numbers are
    int64 and float32, and a feature with one value in an example is a scalar. `DiagnosticError` FED0714 to FED0718, now
    or when a client is read, for a file that cannot be read, is not in this layout, or does not fit the spec.
    """
    place = verify_readable(path)
    with _opened(place) as connection:
        _verify_tables(place, connection)
        features = features_of(spec) or _kept_features(connection)
        if split is not None:
            _verify_split(place, connection, split)
        chosen = "SELECT DISTINCT client_id FROM client_metadata WHERE ?1 IS NULL OR split_name = ?1"
        ids = tuple(sorted(str(row[0]) for row in connection.execute(chosen, (split,))))
    return ClientData.from_function(ids, lambda client: _client(place, client, split, features))


def write_sqlite(
    path: AnyPath, data: ClientData | ClientDatasets | Mapping[str, ClientData], *, overwrite: bool = False
) -> None:
    """Writes the data, or each split's by its name, one client at a time; the file is there when it is complete.

    `DiagnosticError` FED0722 for data that is no flat record of features or that the layout would round, FED0712 and
    FED0717 for clients whose features differ, FED0722 where the file cannot be written.
    """
    splits = data if isinstance(data, Mapping) else {ONE_SPLIT: stacked(data)}
    first, features = "", None
    with written(path, overwrite=overwrite) as draft, closing(sqlite3.connect(draft)) as connection:
        connection.executescript(SCHEMA)
        for split, whole in splits.items():
            for client in whole:
                record = flat_record(path, client, whole.examples(client))
                first, features = (first, features) if features else (client, _features(record))
                _verify_record(path, client, record, first, features)
                _insert(connection, split, client, record)
        rows = [(name, each.dtype, json.dumps(each.shape)) for name, each in (features or {}).items()]
        connection.executemany("INSERT INTO features VALUES (?, ?, ?)", rows)
        connection.commit()


def _insert(connection: sqlite3.Connection, split: str, client: str, record: dict[str, Array]) -> None:
    count = len(next(iter(record.values())))
    examples = ({name: np.asarray(array[place]) for name, array in record.items()} for place in range(count))
    rows = ((split, client, print_example(_one(example))) for example in examples)
    connection.executemany("INSERT INTO examples VALUES (?, ?, ?)", rows)
    connection.execute("INSERT INTO client_metadata VALUES (?, ?, ?)", (client, split, count))


def _one(example: dict[str, Array]) -> dict[str, Array]:
    """The example with single strings as arrays of objects, which indexing has taken out."""
    return {name: value.astype(object) if value.dtype.kind == "U" else value for name, value in example.items()}


def _features(record: dict[str, Array]) -> dict[str, Feature]:
    return {name: feature_of(array) for name, array in record.items()}


def _verify_record(
    path: AnyPath, client: str, record: dict[str, Array], first: str, features: dict[str, Feature]
) -> None:
    """A client's features are those of the first, and messages hold them."""
    if set(record) != set(features):
        raise other_fields(client, tuple(record), first, tuple(features))
    for name, array in record.items():
        verify_feature(client, name, array, features[name])
        if array.dtype == np.float64 and not np.array_equal(array, array.astype(np.float32), equal_nan=True):
            hint = "make it float32, or write HDF5"
            raise cannot_write(path, f"`{name}` of client {client} is float64, and messages hold float32", hint=hint)
        if array.dtype == np.uint64 and array.size and array.max() > np.uint64(2**63 - 1):
            raise cannot_write(path, f"`{name}` of client {client} has numbers that int64 does not hold")


def _client(path: Path, client: str, split: str | None, features: dict[str, Feature] | None) -> Examples:
    chosen = "SELECT serialized_example_proto FROM examples WHERE client_id = ?1 AND (?2 IS NULL OR split_name = ?2)"
    with _opened(path) as connection:
        messages = [row[0] for row in connection.execute(chosen, (client, split))]
    try:
        examples = [parse_example(message) for message in messages]
    except ValueError as error:
        raise damaged_file(path, "SQLite", f"client {client}: {error}") from None
    if features is None:
        return _as_found(client, examples)
    for example in examples:
        for name in features:
            if name not in example:
                raise missing_part(path, f"feature `{name}` of client {client}", tuple(example))
    return {name: _as_told(client, name, [e[name] for e in examples], feature) for name, feature in features.items()}


def _as_found(client: str, examples: list[dict[str, Array]]) -> Examples:
    """The features as the messages have them."""
    if not examples:
        raise no_elements(client)
    first = examples[0]
    for index, example in enumerate(examples):
        if set(example) != set(first):
            raise structures_differ(client, index, tuple(first), tuple(example))
        for name, vector in example.items():
            if vector.shape != first[name].shape or vector.dtype != first[name].dtype:
                raise shapes_differ(client, f".{name}", index, first[name].shape, vector.shape)
    stack = {name: np.stack([example[name] for example in examples]) for name in first}
    return {name: array[:, 0] if array.shape[1] == 1 else array for name, array in stack.items()}


def _as_told(client: str, name: str, vectors: list[Array], feature: Feature) -> Array:
    """The values as the feature's dtype and shape say; a number that the dtype does not hold is an error."""
    dtype = np.dtype(object) if feature.dtype == "string" else np.dtype(feature.dtype)
    size, kind = int(np.prod(feature.shape)), {"O": "O", "f": "f"}.get(dtype.kind, "i")
    for vector in vectors:
        if vector.dtype.kind != kind or len(vector) != size:
            held = {"O": "strings", "f": "float32", "i": "int64"}[vector.dtype.kind]
            raise wrong_feature(client, name, f"{held}[{len(vector)}]", str(feature))
    if not vectors:
        return np.zeros((0, *feature.shape), dtype)
    stack = np.stack(vectors).reshape(-1, *feature.shape)
    values = stack.astype(dtype)
    if kind == "i" and not np.array_equal(values, stack):
        raise wrong_feature(client, name, f"numbers up to {stack.max()}", str(feature))
    return values


def _kept_features(connection: sqlite3.Connection) -> dict[str, Feature] | None:
    """What `write_sqlite` notes about the features, where it wrote the file."""
    if "features" not in _tables(connection):
        return None
    rows = connection.execute("SELECT name, dtype, shape FROM features ORDER BY name").fetchall()
    return {name: Feature(dtype, tuple(json.loads(shape))) for name, dtype, shape in rows} or None


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]


def _verify_tables(path: Path, connection: sqlite3.Connection) -> None:
    tables = _tables(connection)
    for table in COLUMNS:
        if table not in tables:
            raise missing_part(path, f"table `{table}`", tables)
    for table, columns in COLUMNS.items():
        present = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for column in columns:
            if column not in present:
                raise missing_part(path, f"column `{column}` in the table `{table}`", present)


def _verify_split(path: Path, connection: sqlite3.Connection, split: str) -> None:
    if connection.execute("SELECT 1 FROM client_metadata WHERE split_name = ? LIMIT 1", (split,)).fetchone():
        return
    known = [row[0] for row in connection.execute("SELECT DISTINCT split_name FROM client_metadata ORDER BY 1")]
    raise unknown_split(path, split, known)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. `DiagnosticError` FED0715 for a file that turns out to be no database."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise damaged_file(path, "SQLite", str(error)) from None
