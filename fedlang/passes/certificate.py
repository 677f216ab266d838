"""What moves: the certificate of a graph or program.

The law that every pass keeps (rule 16): it only takes entries away. `fed cost` is made from it.
"""

from __future__ import annotations

from collections import Counter

from fedlang.frozen import Frozen
from fedlang.ir.graph import Graph, LeafType, NodeType
from fedlang.ir.graph import Sequence as SequenceType
from fedlang.ir.operations import OPERATIONS
from fedlang.ir.program import Program
from fedlang.ir.sizes import leaves_of
from fedlang.source import Span
from fedlang.types.dims import product
from fedlang.types.dtypes import BYTES


class Entry(Frozen):
    """One movement: the field it carries, its kind ("broadcast", "mean", ...), its type and bytes (None: not known)."""

    path: str
    kind: str
    type: NodeType
    bytes: int | None
    span: Span | None = None


Certificate = Counter[Entry]


def certificate(of: Graph | Program) -> Certificate:
    """What moves, as a multiset."""
    return Counter(_of_graph(of) if isinstance(of, Graph) else _of_program(of))


def _of_graph(graph: Graph) -> list[Entry]:
    found = []
    for index, node in enumerate(graph.nodes):
        if OPERATIONS[node.op].is_movement:
            sends = node.op in ("federated_broadcast", "federated_keys", "federated_select")
            type = graph.nodes[node.inputs[-1]].type if sends else node.type
            path = str(dict(node.attributes).get("path", ""))
            span = graph.spans[index] if graph.spans else None
            found.append(_entry(path, node.op.removeprefix("federated_"), type, span))
    return found


def _of_program(program: Program) -> list[Entry]:
    found = []
    for phase in program.phases:
        for sent, type in zip(phase.sent, phase.prepare.result_types(), strict=False):
            found.append(_entry(sent.path, sent.kind, type, sent.span))
        found += [_entry(each.path, each.kind, each.type, each.span) for each in phase.aggregates]
    return found


def _entry(path: str, kind: str, type: NodeType, span: Span | None) -> Entry:
    return Entry(path, kind, type, bytes_of(type), span)


def bytes_of(type: NodeType) -> int | None:
    """The bytes of a value of this type; None where a size is not known."""
    total = 0
    for leaf in leaves_of(type):
        number = _leaf_bytes(leaf)
        if number is None:
            return None
        total += number
    return total


def _leaf_bytes(leaf: LeafType) -> int | None:
    if isinstance(leaf, SequenceType):
        count = product((leaf.length, *leaf.element.shape))
        return count * BYTES[leaf.element.dtype] if isinstance(count, int) else None
    count = product(leaf.shape)
    return count * BYTES[leaf.dtype] if isinstance(count, int) else None
