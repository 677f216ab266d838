"""The known word a mistyped one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate with the fewest slips from `word`, the first of equals; None where none is near.

    A third of the letters may differ. A word that differs in case or underscores alone is always near.
    """
    limit = max(1, (len(word) + 1) // 3)
    best, fewest = None, limit + 1
    for candidate in candidates:
        if candidate == word or abs(len(candidate) - len(word)) >= fewest + 1:
            continue
        slips = 0 if _plain(candidate) == _plain(word) else distance(word, candidate)
        if slips < fewest and slips < max(len(word), len(candidate)):
            best, fewest = candidate, slips
    return best


def _plain(word: str) -> str:
    return word.lower().replace("_", "")


def distance(a: str, b: str) -> int:
    """How many letters to insert, drop, change or swap with their neighbour (Damerau 1964, each place once)."""
    older: list[int] = []
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        older, above = above, row
    return above[-1]
