"""Questions and answers of Stack Overflow by their authors, sentence by sentence; under CC BY-SA 3.0."""

from __future__ import annotations

import json
from itertools import islice

from fedlang.data.clients import ClientData
from fedlang.data.downloads import ORIGIN, Published, fetched
from fedlang.data.errors import damaged_file, wrong_count
from fedlang.data.files import AnyPath
from fedlang.simulation.datasets.loading import Both, load_parts

TEXTS = ("creation_date", "tags", "title", "tokens", "type")
PUBLISHED = Both(
    Published(
        "stackoverflow.tar.bz2",
        ("stackoverflow_train.h5", "stackoverflow_held_out.h5", "stackoverflow_test.h5"),
        "99eca2f8b8327a09e5fc123979df2d237acbc5e52322f6d86bf523ee47b961a2",
    ),
    Published("stackoverflow.sqlite.lzma", ("stackoverflow.sqlite",)),
    ("train", "heldout", "test"),
    {**dict.fromkeys(TEXTS, "string"), "score": "int64"},
)
WORDS = Published(
    "stackoverflow.word_count.tar.bz2",
    ("stackoverflow.word_count",),
    "1dc00256d6e527c54b9756d968118378ae14e6692c0b3b6cad470cdd3f0c519c",
)
TAGS = Published(
    "stackoverflow.tag_count.tar.bz2",
    ("stackoverflow.tag_count",),
    "6fe281cec490d9384a290d560072438e7e2b377bbb823876ce7bd6f82696772d",
)


def load_data(
    cache_dir: AnyPath | None = None, *, layout: str = "hdf5", origin: str = ORIGIN
) -> tuple[ClientData, ClientData, ClientData]:
    """Training, held-out and test sentences: of 342,477 authors until 2017, of 38,758 others, of 204,088 since 2018.

    Elements are `{creation_date, score: int64, tags, title, tokens, type}`, strings but for the score; tags are parted
    by `|`, tokens by blanks, the type is "question" or "answer". 135,818,730, 16,491,230 and 16,586,035 of them.

    `layout` is "hdf5", whose checksum is known, or "sqlite"; `origin` may be a mirror, such as `file:///data/`. Errors:
    `fedlang.data.downloads.fetched`.
    """
    train, held_out, test = load_parts(PUBLISHED, layout, cache_dir, origin)
    return train, held_out, test


def load_word_counts(
    cache_dir: AnyPath | None = None, vocab_size: int | None = None, *, origin: str = ORIGIN
) -> dict[str, int]:
    """How many training authors use a word, the commonest first; the first `vocab_size` words.

    `DiagnosticError` FED0709 for a size below 1; of a download, as `load_data`.
    """
    if vocab_size is not None and vocab_size < 1:
        raise wrong_count("the size of the vocabulary", vocab_size, "1 or more")
    (path,) = fetched(WORDS, cache_dir, origin)
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in islice(file, vocab_size)]
    for row in rows:
        if len(row) != 2 or not row[1].isdecimal():
            raise damaged_file(path, "word count", f"`{' '.join(row)}` is no word with a number")
    return {word: int(count) for word, count in rows}


def load_tag_counts(cache_dir: AnyPath | None = None, *, origin: str = ORIGIN) -> dict[str, int]:
    """How many training authors use a tag, the commonest first. `DiagnosticError`: as `load_data`."""
    (path,) = fetched(TAGS, cache_dir, origin)
    try:
        counts: dict[str, int] = json.loads(path.read_bytes())
    except ValueError as error:
        raise damaged_file(path, "JSON", str(error)) from None
    return dict(sorted(counts.items(), key=lambda tag: -tag[1]))
