"""Pictures of client data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedlang.data.clients import ClientData
from fedlang.data.partition import field

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_partition(data: ClientData, key: str = "y") -> Figure:
    """How many examples each client has of each value of `key`: a bar a client, a colour a value. Needs matplotlib."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    columns = [field(data.examples(client), key) for client in data]
    values = np.unique(np.concatenate(columns)) if columns else np.zeros(0)
    figure = Figure(figsize=(max(6.0, 2.5 + 0.16 * len(columns)), 4.0), layout="constrained")
    axes = figure.subplots()
    heights = np.zeros(len(columns))
    for index, value in enumerate(values):
        counts = np.array([np.count_nonzero(column == value) for column in columns])
        colour = colormaps["tab10" if len(values) <= 10 else "tab20"](index % 20)
        axes.bar(np.arange(len(columns)), counts, bottom=heights, width=0.85, color=colour, label=str(value))
        heights = heights + counts
    axes.set(
        xlabel="client", ylabel="examples", title=f"{int(heights.sum()):,} examples of {len(columns)} clients by {key}"
    )
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    if 0 < len(values) <= 20:
        figure.legend(loc="outside right upper", title=key, frameon=False, reverse=True)
    return figure
