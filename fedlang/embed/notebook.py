"""What notebooks show: HTML for computations, processes, records and the table of rounds.

It is plain HTML without styles, which notebooks dress in their own. Text is escaped here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

SHOWN = 12
"""Elements of an array, or of a tuple or list, that are shown; of longer ones it is said what they are."""


def signatures_html(title: str, signatures: Mapping[str, object]) -> str:
    """A title, and a type for each name."""
    rows = "".join(
        f"<tr><td style='text-align:left'><b>{escape(name)}</b></td>"
        f"<td style='text-align:left'><code>{escape(str(type))}</code></td></tr>"
        for name, type in signatures.items()
    )
    head = f"<p>{escape(title)}</p>" if title else ""
    return f"{head}<table><tbody>{rows}</tbody></table>"


def value_html(value: Any) -> str:
    """A value: records as tables, one inside the other; long arrays by their dtype and shape."""
    if isinstance(value, Mapping):
        rows = "".join(
            f"<tr><td style='text-align:left'><b>{escape(str(name))}</b></td>"
            f"<td style='text-align:left'>{value_html(item)}</td></tr>"
            for name, item in value.items()
        )
        return f"<table><tbody>{rows}</tbody></table>"
    if isinstance(value, tuple | list) and len(value) <= SHOWN:
        return "(" + ", ".join(value_html(item) for item in value) + ")"
    if isinstance(value, tuple | list):
        return escape(f"{len(value)} values")
    if isinstance(value, np.ndarray) and value.size > SHOWN:
        sizes = ", ".join(str(size) for size in value.shape)
        return f"<code>{value.dtype}[{sizes}]</code>"
    return f"<code>{escape(str(value))}</code>"


def rounds_html(columns: Sequence[str], rows: Sequence[Mapping[str, str]], done: int, total: int | None) -> str:
    """The table of rounds, and how far it is."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(row[name])}</td>' for name in columns)}</tr>" for row in rows)
    bar = "" if total is None or done >= total else f"<progress value='{done}' max='{total}'></progress>"
    return f"{bar}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Live:
    """Something with `_repr_html_` that a notebook shows, and shows anew when it has changed."""

    def __init__(self, shown: object) -> None:
        from IPython.display import display  # there, since this is a notebook

        self._shown = shown
        self._handle = display(shown, display_id=True)

    def update(self) -> None:
        """Shows it as it is now."""
        if self._handle is not None:
            self._handle.update(self._shown)
