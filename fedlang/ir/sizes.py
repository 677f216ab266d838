"""Which sizes a graph mentions, and which of its values show them.

An executor learns what `n` is from a value that has an axis of that size. So a node that mentions a size depends on
some node that shows it, as surely as on its inputs, and no pass may remove the last one that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from fedlang.ir.nodes import Attribute, Graph, LeafType, Node, NodeType, Sequence, Tensor
from fedlang.ir.operations import OPERATIONS
from fedlang.types.dims import Atom, Dim, Quotient, Size, atoms_of

Atoms = frozenset[Atom]
NONE: Atoms = frozenset()
BORN = ("sequence", "extern", "movement")  # the groups whose results may have new sizes


def leaves_of(type: NodeType) -> tuple[LeafType, ...]:
    """The leaves of a node's type: one, or those of a node with several results."""
    return type if isinstance(type, tuple) else (type,)


def sizes_of(leaf: LeafType) -> tuple[Size, ...]:
    """All sizes in a leaf's type."""
    return leaf.shape if isinstance(leaf, Tensor) else (leaf.length, *leaf.element.shape)


@lru_cache(maxsize=1 << 16)
def shown_atoms(type: NodeType) -> Atoms:
    """The names whose values can be read off a value of this type. A sequence shows its length only."""
    shown = (leaf.shape if isinstance(leaf, Tensor) else (leaf.length,) for leaf in leaves_of(type))
    return frozenset(atom for sizes in shown for size in sizes if isinstance(size, Dim) for atom in _solvable(size))


def _solvable(size: Dim) -> tuple[Atom, ...]:
    """The name in a size that one number tells: `n`, and `n` in `n + 1` or `2 n`."""
    atoms = set(atoms_of(size))
    if len(atoms) != 1 or any(len(product) > 1 for product, _ in size.terms):
        return ()
    return tuple(atom for atom in atoms if not isinstance(atom, Quotient))


@lru_cache(maxsize=1 << 16)
def type_atoms(type: NodeType) -> Atoms:
    """The names a type mentions, element sizes of sequences included."""
    return _plain(size for leaf in leaves_of(type) for size in sizes_of(leaf))


def _plain(sizes: Iterable[Size]) -> Atoms:
    return frozenset(atom for size in sizes for atom in atoms_of(size) if not isinstance(atom, Quotient))


def mentioned_atoms(node: Node) -> Atoms:
    """The names a node's type and attributes mention, those in nested graphs included."""
    found = type_atoms(node.type)
    for _, value in node.attributes:
        if not isinstance(value, int | str | float | None):
            found |= _attribute_atoms(value)
    return found


def _attribute_atoms(value: Attribute) -> Atoms:
    match value:
        case Dim():
            return _plain((value,))
        case Graph():
            return graph_atoms(value)
        case Tensor() | Sequence():
            return type_atoms(value)
        case tuple():
            return NONE.union(*(_attribute_atoms(each) for each in value))
        case _:
            return NONE


@lru_cache(maxsize=1 << 12)
def graph_atoms(graph: Graph) -> Atoms:
    """The names that nodes of the graph mention."""
    return NONE.union(*(mentioned_atoms(node) for node in graph.nodes))


def tells_sizes(node: Node) -> bool:
    """Whether a node's result may have sizes that nothing before it had."""
    return node.op == "get" or (node.op in OPERATIONS and OPERATIONS[node.op].group in BORN)


def size_sources(graph: Graph) -> dict[Atom, int]:
    """The first node that tells each name: a parameter where one does."""
    found: dict[Atom, int] = {}
    born = (index for index, node in enumerate(graph.nodes) if tells_sizes(node))
    for index in (*graph.parameters, *born):
        for atom in shown_atoms(graph.nodes[index].type):
            found.setdefault(atom, index)
    return found


def hidden_sources(graph: Graph) -> dict[Atom, int]:
    """As `size_sources`, but only the names that no parameter shows."""
    parameters = set(graph.parameters)
    return {atom: index for atom, index in size_sources(graph).items() if index not in parameters}


def sources_needed(node: Node, sources: dict[Atom, int]) -> Iterator[int]:
    """The nodes that show the names this node mentions."""
    if sources:
        yield from (sources[atom] for atom in mentioned_atoms(node) if atom in sources)
