"""Padded tensors that fill each other's gaps, joined and not added up.

In: any graph. Out: the same values, but for the sign of zeros. The derivative of slices pads each slice's cotangent
with zeros to the size of what was sliced, and adds them up: the four gates of an LSTM cost three sums and four tensors
of all gates, where one concatenation does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from fedlang.ir.graph import Builder, Graph, Node

from .rewrite import deep, number_of, rebuild

MOST = 64  # pieces of one tensor


def join_pads(graph: Graph) -> Graph:
    """The graph with sums of pads made concatenations, at every depth."""
    return deep(graph, lambda each: _joined(each) if any(node.op == "pad" for node in each.nodes) else each)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What a sum of pads has along an axis, in order: where each piece starts and stops, and its node."""

    axis: int
    parts: tuple[tuple[int, int, int], ...]

    def covers(self, size: object) -> bool:
        """Whether the pieces leave no gap."""
        ends = [0, *(stop for _, stop, _ in self.parts)]
        return ends[:-1] == [start for start, _, _ in self.parts] and ends[-1] == size


def _joined(graph: Graph) -> Graph:
    known: dict[int, _Pieces] = {}  # by nodes of the new graph

    def rule(builder: Builder, node: Node) -> int:
        index = builder.add_node(node)
        found = _padded(builder, node) if node.op == "pad" else _added(known, node) if node.op == "add" else None
        if found is None:
            return index
        known[index] = found
        if node.op == "pad" or not found.covers(node.tensor.shape[found.axis]):
            return index
        inputs = tuple(part for _, _, part in found.parts)
        return builder.add("concat", inputs, node.tensor, place=node.place, axis=found.axis)

    return rebuild(graph, rule)


def _padded(builder: Builder, node: Node) -> _Pieces | None:
    axis, before = number_of(node, "axis"), node.attribute("before")
    size = builder.nodes[node.inputs[0]].tensor.shape[axis]
    if not isinstance(before, int) or not isinstance(size, int):
        return None
    return _Pieces(axis, ((before, before + size, node.inputs[0]),))


def _added(known: dict[int, _Pieces], node: Node) -> _Pieces | None:
    """The pieces of both sides, where they lie along one axis and do not overlap."""
    a, b = (known.get(i) for i in node.inputs)
    if a is None or b is None or a.axis != b.axis or len(a.parts) + len(b.parts) > MOST:
        return None
    parts = tuple(sorted((*a.parts, *b.parts)))
    overlap = any(before[1] > after[0] for before, after in pairwise(parts))
    return None if overlap else _Pieces(a.axis, parts)
