"""Files of client data are read whole or not at all, and written under another name until they are complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from fedlang.data.clients import ClientData
from fedlang.data.datasets import ClientDatasets
from fedlang.data.errors import cannot_write, unreadable_path
from fedlang.data.trees import Examples
from fedlang.run.sequences import Array

AnyPath = str | PathLike[str]


def verify_readable(path: AnyPath) -> Path:
    """The path of a file that can be opened. `DiagnosticError` FED0714 with the system's words if it cannot."""
    try:
        with open(path, "rb"):
            return Path(path)
    except OSError as error:
        raise unreadable_path(path, error.strerror or str(error)) from None


@contextmanager
def written(path: AnyPath, *, overwrite: bool) -> Iterator[Path]:
    """A draft to write to, which takes the path's place at the end, and is gone if the writing fails.

    `DiagnosticError` FED0722 if there is a file already and not `overwrite`, or if the folder cannot be written.
    """
    target = Path(path)
    if os.path.exists(target) and not overwrite:
        raise cannot_write(path, "there is a file of this name", hint="choose another name, or give `overwrite=True`")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        draft.touch(exist_ok=False)
        yield draft
        os.replace(draft, target)
    except OSError as error:
        raise cannot_write(path, error.strerror or str(error)) from None
    finally:
        with suppress(OSError):
            draft.unlink()


def stacked(data: ClientData | ClientDatasets) -> ClientData:
    """The data with each client's elements stacked."""
    if isinstance(data, ClientData):
        return data
    return ClientData.from_function(data.client_ids, data.client)


def flat_record(path: AnyPath, client: str, examples: Examples) -> dict[str, Array]:
    """The features of a client in the order of their names. FED0722 for data that is no flat record."""
    if not isinstance(examples, dict) or any(isinstance(leaf, (dict, tuple)) for leaf in examples.values()):
        hint = "give the data fields with `data.map(lambda examples: {…})`"
        raise cannot_write(path, f"the examples of client {client} are no flat record of features", hint=hint)
    return {name: leaf for name, leaf in sorted(examples.items()) if not isinstance(leaf, (dict, tuple))}
