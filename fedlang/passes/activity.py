"""Which values a derivative goes through: the analysis before differentiation.

A result is *active* when it is of floats and depends on something that we differentiate by. Of a node with several
results each has its own answer. Nothing flows through `stop_gradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from fedlang.ir.graph import Graph, LeafType, Node
from fedlang.ir.sizes import leaves_of
from fedlang.types.dtypes import FLOATS

from .emit import stacked
from .rewrite import graph_of, index_of, number_of

Part = tuple[int, int]  # a node, and which of its results
NONE: frozenset[int] = frozenset()


def has_derivative(leaf: LeafType) -> bool:
    """Whether a leaf is of floats."""
    return stacked(leaf).dtype in FLOATS


@dataclass(frozen=True, eq=False)
class Activity:
    """The active results of a graph's nodes, when the parameters at `start` are active."""

    graph: Graph
    start: frozenset[int]

    @cached_property
    def parts(self) -> dict[int, frozenset[int]]:
        """The active results of each node that has any."""
        found = {self.graph.parameters[k]: frozenset({0}) for k in self.start}
        for index, node in enumerate(self.graph.nodes):
            if active := self._results(node, found):
                found[index] = active
        return found

    def _results(self, node: Node, found: dict[int, frozenset[int]]) -> frozenset[int]:
        if node.op == "get":
            return frozenset({0}) if index_of(node) in found.get(node.inputs[0], NONE) else NONE
        inputs = frozenset(position for position, i in enumerate(node.inputs) if i in found)
        return RESULTS.get(node.op, _all_floats)(node, inputs) if inputs else NONE

    @property
    def results(self) -> frozenset[int]:
        """The positions of active results."""
        return frozenset(k for k, index in enumerate(self.graph.results) if index in self.parts)

    def reached(self, results: Iterable[int]) -> frozenset[int]:
        """The positions of the active parameters from which the results at these positions get what they have."""
        needed = self.needed(results)
        return frozenset(k for k in self.start if self.graph.parameters[k] in needed)

    def needed(self, results: Iterable[int]) -> frozenset[int]:
        """The active nodes on the way from parameters to results."""
        needed: set[int] = set()
        pending = [self.graph.results[k] for k in results]
        while pending:
            index = pending.pop()
            if index in self.parts and index not in needed:
                needed.add(index)
                pending += self.graph.nodes[index].inputs
        return frozenset(needed)


def _all_floats(node: Node, inputs: frozenset[int]) -> frozenset[int]:
    return frozenset(k for k, leaf in enumerate(leaves_of(node.type)) if has_derivative(leaf))


def _nothing(node: Node, inputs: frozenset[int]) -> frozenset[int]:
    return NONE


def _fold(node: Node, inputs: frozenset[int]) -> frozenset[int]:
    return loop_activity(node, inputs).results


def _cond(node: Node, inputs: frozenset[int]) -> frozenset[int]:
    start = frozenset(position - 1 for position in inputs if position)
    return NONE.union(*(Activity(graph_of(node, name), start).results for name in ("then", "otherwise")))


def loop_activity(node: Node, inputs: frozenset[int]) -> Activity:
    """The activity of a fold's body; a carry that one step makes active is active in the next, until no more are."""
    captured, carries = number_of(node, "captured"), number_of(node, "carries")
    body, start = graph_of(node), inputs
    while True:
        activity = Activity(body, start)
        more = start | {captured + k for k in activity.results if k < carries}
        if more == start:
            return activity
        start = more


RESULTS: dict[str, Callable[[Node, frozenset[int]], frozenset[int]]] = {
    "stop_gradient": _nothing,
    "fold": _fold,
    "cond": _cond,
}
