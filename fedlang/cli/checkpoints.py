"""Training kept in a file, so that it can go on: the state after a round, the rounds so far, and of which training.

The file is `checkpoint.npz` in the folder: an array for each leaf of the state, named by its path, and `about`, JSON in
UTF-8. It holds no code and is read without pickle. What is restored must be of the same program: `program` is a hash of
the graphs of `initialize` and `next` as they are written, which comments and layout do not change.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.cli import errors
from fedlang.cli.writing import write_whole
from fedlang.embed.computations import ClientState, Process
from fedlang.embed.records import Record
from fedlang.ir.text import print_graph

FILE = "checkpoint.npz"
ABOUT = "about"
FORMAT = 1

_HANDLE = re.compile(r'handle = "([^"]*)"')

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A state, the rounds that led to it, the options that a resumed run must share, and what the rounds ran on."""

    state: Any
    history: list[dict[str, Any]]
    options: Mapping[str, Any]
    ran: str


def program_hash(process: Process) -> str:
    """What tells a program from others. Functions of Python have their order for a name, which else counts them all."""
    graphs = [print_graph(process.method(name).compiled.lowered.graph) for name in ("initialize", "next")]
    text = "\n".join(graphs)
    for place, handle in enumerate(dict.fromkeys(_HANDLE.findall(text))):
        text = text.replace(f'"{handle}"', f'"{place}"')
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_checkpoint(folder: str, checkpoint: Checkpoint) -> None:
    """Replaces the folder's checkpoint; one that was there stays until the new one is whole."""
    arrays: Arrays = {}
    _take_apart(checkpoint.state, "state", arrays)
    about = {"format": FORMAT, "options": checkpoint.options, "history": checkpoint.history, "ran": checkpoint.ran}
    arrays[ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_whole(os.path.join(folder, FILE), buffer.getvalue())


def verify_no_checkpoint(folder: str) -> None:
    """`DiagnosticError` if the folder has a checkpoint, which training from the beginning would write over."""
    if os.path.exists(os.path.join(folder, FILE)):
        raise errors.checkpoint_is_there(folder)


def read_checkpoint(folder: str, options: Mapping[str, Any], template: Any) -> Checkpoint:
    """The folder's checkpoint; `template` is any state of the process. `DiagnosticError` if it is of other training."""
    path = os.path.join(folder, FILE)
    if not os.path.exists(path):
        raise errors.no_checkpoint(folder)
    if not zipfile.is_zipfile(path):
        raise errors.unreadable_checkpoint(path, "it is damaged, or something else")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(ABOUT).tobytes())
        differences = list(_differences(about["options"], options))
        if differences:
            raise errors.other_checkpoint(folder, differences)
        return Checkpoint(_put_together(template, "state", arrays), about["history"], options, about.get("ran", ""))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise errors.unreadable_checkpoint(path, str(error)) from None


def _differences(kept: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    kept, given = _flat(kept), _flat(given)
    names = [name for name in {**kept, **given} if kept.get(name) != given.get(name)]
    if "program" in names:
        return ["it is of another program"]
    return [f"{name} is {given.get(name)} here and {kept.get(name)} there" for name in names]


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    settings = {f"the setting `{name}`": value for name, value in options.get("settings", {}).items()}
    return {name: value for name, value in options.items() if name != "settings"} | settings


def _take_apart(value: Any, path: str, arrays: Arrays) -> None:
    """Adds the arrays of a value by their paths."""
    match value:
        case Mapping():
            for name, part in value.items():
                _take_apart(part, f"{path}.{name}", arrays)
        case tuple() | list():
            for place, part in enumerate(value):
                _take_apart(part, f"{path}.{place}", arrays)
        case ClientState():
            _take_apart(value.first, f"{path}@", arrays)
            arrays[f"{path}@clients"] = np.array(list(value.known), np.str_)
            for place, leaves in enumerate(value.known.values()):
                _take_apart(leaves, f"{path}@{place}", arrays)
        case _:
            array = np.asarray(value)
            arrays[path] = array.astype(np.str_) if array.dtype == object else array


def _put_together(template: Any, path: str, arrays: Arrays) -> Any:
    """A value like the template of the arrays."""
    match template:
        case Mapping():
            return Record({name: _put_together(part, f"{path}.{name}", arrays) for name, part in template.items()})
        case tuple() | list():
            parts = (_put_together(part, f"{path}.{place}", arrays) for place, part in enumerate(template))
            return type(template)(parts)
        case ClientState():
            first = template.first
            known = {
                str(client): _put_together(first, f"{path}@{place}", arrays)
                for place, client in enumerate(arrays[f"{path}@clients"])
            }
            return ClientState(template.type, _put_together(first, f"{path}@", arrays), known)
        case _:
            return _like(arrays[path], np.asarray(template).dtype)


def _like(array: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """The array in its dtype: NumPy writes text with its length and dtypes that it does not know as bytes."""
    whole = array.view(dtype) if array.dtype.kind == "V" else array.astype(dtype, copy=False)
    return whole if whole.ndim else whole[()]
