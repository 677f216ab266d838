"""The picture of a training run: how its metrics went, round by round, as a PNG.

What comes in is the metrics of each round, as `RoundTable` shows them. Losses stand in one panel, accuracies and the
like in another. The file is there whole or not at all. matplotlib is imported when a picture is drawn.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedlang.embed.tables import Metrics, as_number, flat_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which people who are colour-blind tell apart."""

PANELS = (("loss", ("loss", "error", "perplexity")), ("accuracy", ("accuracy", "precision", "recall", "auc")))


def plot_history(history: Sequence[Metrics], path: str | Path, *, title: str = "") -> Path:
    """Draws the losses and the accuracies of each round; gives the path of the picture.

    A metric belongs to a panel by the words in its name. `ValueError` if no metric belongs to any. Folders are made as
    needed.
    """
    rounds = [flat_metrics(metrics) for metrics in history]
    chosen = {panel: belonging(rounds, words) for panel, words in PANELS}
    chosen = {panel: names for panel, names in chosen.items() if names}
    if not chosen:
        raise ValueError("no round has a loss or an accuracy to draw")
    figure = _figure(len(chosen), title)
    for axes, (panel, names) in zip(figure.axes, chosen.items(), strict=True):
        _draw(axes, panel, {name: [as_number(row.get(name)) for row in rounds] for name in names})
    return write_whole(figure, Path(path))


def belonging(rounds: Iterable[Metrics], words: Sequence[str]) -> list[str]:
    """The metrics whose last name has one of the words, in the order in which they come up."""
    names = dict.fromkeys(name for row in rounds for name in row)
    return [name for name in names if any(word in name.rsplit(".", 1)[-1].lower() for word in words)]


def _figure(panels: int, title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * panels + 0.5, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.subplots(1, panels)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def _draw(axes: Axes, panel: str, lines: dict[str, list[int | float | None]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for index, (name, values) in enumerate(lines.items()):
        points = [(place, value) for place, value in enumerate(values, 1) if value is not None]
        x, y = [place for place, _ in points], [value for _, value in points]
        marker = "o" if len(points) <= 40 else ""
        axes.plot(x, y, marker=marker, markersize=3, linewidth=1.8, color=COLOURS[index % len(COLOURS)], label=name)
        axes.annotate(
            f"{y[-1]:.3g}", (x[-1], y[-1]), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set(xlabel="round", ylabel=panel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel == "accuracy":
        axes.set_ylim(0.0, 1.02)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=9)


def write_whole(figure: Figure, path: Path) -> Path:
    """Writes the picture beside its path and moves it there, so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".png", dir=path.parent)
    os.close(handle)
    try:
        figure.savefig(draft, format="png")
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path
