"""Text as numbers, character by character, and cut into sequences of one length for models that predict the next.

The vocabulary and its order are those of TensorFlow Federated's Shakespeare models: id 0 is padding, 1 to 86 are
characters, then come one for all other characters, one for the begin of a text and one for its end. So embeddings have
`SIZE` rows, 90.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedlang.data.clients import ClientData
from fedlang.data.errors import wrong_count
from fedlang.data.partition import field

CHARACTERS = "dhlptx@DHLPTX $(,048cgkoswCGKOSW[_#'/37;?bfjnrvzBFJNRVZ\"&*.26:\naeimquyAEIMQUY]!%)-159\r"
TEXT_FIELD = "snippets"
PADDING = 0
OTHER, BEGIN, END = range(len(CHARACTERS) + 1, len(CHARACTERS) + 4)
SIZE = len(CHARACTERS) + 4

Ids = NDArray[np.int32]

_IDS = {character: place for place, character in enumerate(CHARACTERS, start=1)}


def encode(text: str) -> Ids:
    """The ids of a text's characters, one each: int32[length]."""
    return np.fromiter((_IDS.get(character, OTHER) for character in text), np.int32, len(text))


def decode(ids: Iterable[int]) -> str:
    """The text of ids; the sign U+FFFD stands for other characters, and nothing for padding, begin and end."""
    return "".join(_character(int(number)) for number in ids)


def _character(number: int) -> str:
    if number == OTHER:
        return "\N{REPLACEMENT CHARACTER}"
    return CHARACTERS[number - 1] if 0 < number < OTHER else ""


def character_sequences(data: ClientData, length: int = 80) -> ClientData:
    """The `sequences` of each client's `snippets`, for data such as `load("shakespeare")`.

    `DiagnosticError` FED0709 for a length below 1, and FED0710 for data without `snippets` when a client is read.
    """
    if length < 1:
        raise wrong_count("the length of a sequence", length, "1 or more")
    return data.map(lambda examples: sequences(field(examples, TEXT_FIELD).tolist(), length))


def sequences(texts: Iterable[str], length: int = 80) -> dict[str, Ids]:
    """Examples for a model that predicts the next character: `{tokens: int32[n, length], next: int32[n, length]}`.

    The texts of a client follow each other, each between its begin and its end, and are cut every `length + 1`
    characters; `next` is `tokens` one character on. What is left over at the end is left out, unless there is nothing
    else: then it is padded.
    """
    parts = [part for text in texts for part in ([BEGIN], encode(text), [END])]
    ids = np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
    if 0 < len(ids) <= length:
        ids = np.pad(ids, (0, length + 1 - len(ids)), constant_values=PADDING)
    windows = ids[: len(ids) - len(ids) % (length + 1)].reshape(-1, length + 1)
    return {"tokens": windows[:, :-1].copy(), "next": windows[:, 1:].copy()}
