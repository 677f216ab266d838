"""The rows of a table, given out in spans: which are taken, and where the next ones fit.

Spans are taken from the gaps between those that are in use, as `keep` has last said which these are, and then from
behind them all. `should_look` tells whoever takes spans when to say so again: before rows that were never used are, and
once enough was taken that going over all spans in use costs little beside it.
"""

from __future__ import annotations

from collections.abc import Iterable

FIRST = 16  # rows that a table has at first
WORTH = 2  # it is worth to look again which rows are in use once one in so many of all rows so far was taken


class Spans:
    """`size` rows, doubled when more are needed. Row 0 is never given out."""

    def __init__(self) -> None:
        self.size = FIRST
        self.kept = 0  # rows that were in use at the last look
        self.taken = 0  # rows taken since
        self._end = 1  # no row from here on is taken
        self._gaps: list[tuple[int, int]] = []  # below it; the next to be used is the last

    @property
    def most(self) -> int:
        """No more rows than this are in use."""
        return self.kept + self.taken

    def should_look(self, count: int) -> bool:
        """Whether to say what is in use before taking so many."""
        return WORTH * self.taken >= self._end and not self._fits_gap(count)

    def take(self, count: int) -> int:
        """Where `count` rows start that nobody has."""
        if self._fits_gap(count):
            start, stop = self._gaps.pop()
            self._gaps.append((start + count, stop))
        else:
            start = self._end
            self._end += count
            self.size = self.size if self._end <= self.size else max(self._end, 2 * self.size)
        self.taken += count
        return start

    def keep(self, spans: Iterable[tuple[int, int]]) -> None:
        """Only these are in use, each a start and a number of rows; all others may be given out again."""
        self.kept = self.taken = 0
        self._end, self._gaps = 1, []
        for start, count in sorted(spans):
            if start > self._end:
                self._gaps.append((self._end, start))
            self._end = start + count
            self.kept += count
        self._gaps.reverse()

    def _fits_gap(self, count: int) -> bool:
        """Whether the next gap is large enough; those that are not are passed over until the next look."""
        while self._gaps and self._gaps[-1][1] - self._gaps[-1][0] < count:
            self._gaps.pop()
        return bool(self._gaps)
