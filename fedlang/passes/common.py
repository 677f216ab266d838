"""Common subexpressions computed once.

In: any graph. Out: the same computation in which no two nodes of one graph are equal, effects aside.
"""

from __future__ import annotations

from fedlang.ir.graph import Graph

from .rewrite import deep, rebuild


def merge_common(graph: Graph) -> Graph:
    """The graph with equal nodes merged, at every depth."""
    return deep(graph, rebuild)
