"""Makes Lark's parser from grammar/fedlang.lark, kept ready in the user's cache folder.

Working out the tables takes a sixth of a second, loading them a few milliseconds. The cache is keyed by Lark's
version, Python's and the grammar's text; a folder that cannot be written costs time, never a failure.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from hashlib import sha256

import lark

import fedlang
from fedlang.syntax.build import Builder
from fedlang.syntax.lexer import LayoutLexer

STARTS = ["declaration", "lone_expression", "lone_type"]


@cache
def parser() -> tuple[lark.Lark, Builder]:
    """The parser and the builder that it calls; one of each for the process."""
    text = grammar_text()
    key = sha256(f"{lark.__version__} {sys.version} {text}".encode()).hexdigest()[:20]
    stored = os.path.join(_cache_folder(), f"grammar-{key}.pickle")
    builder = Builder()
    if os.path.exists(stored):
        return _make(text, builder, stored), builder
    return _make_and_store(text, builder, stored), builder


def grammar_text() -> str:
    """The grammar, from the package or from the checkout beside it."""
    folders = [*fedlang.__path__, *(os.path.dirname(each) for each in fedlang.__path__)]
    paths = (os.path.join(each, "grammar", "fedlang.lark") for each in folders)
    with open(next(each for each in paths if os.path.exists(each)), encoding="utf-8") as file:
        return file.read()


def _make(text: str, builder: Builder, stored: str | bool) -> lark.Lark:
    return lark.Lark(
        text,
        parser="lalr",
        lexer=LayoutLexer,
        start=STARTS,
        keep_all_tokens=True,
        maybe_placeholders=True,
        transformer=builder,
        cache=stored,
    )


def _make_and_store(text: str, builder: Builder, stored: str) -> lark.Lark:
    """Lark writes its cache in place; a folder of our own and a rename make that atomic."""
    try:
        os.makedirs(os.path.dirname(stored), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(stored)) as folder:
            made = _make(text, builder, os.path.join(folder, "grammar"))
            os.replace(os.path.join(folder, "grammar"), stored)
            return made
    except OSError:
        return _make(text, builder, False)


def _cache_folder() -> str:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "fedlang")
