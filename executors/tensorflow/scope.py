"""What is known while a graph is traced: the values of its sizes, and the checks met so far.

A check never raises inside TensorFlow. It leaves a flag: a bool for one client, a vector of bools for a batch of
clients (`flag_rank` 1), true when all is well. A scope for a branch or the body of a loop starts without flags; who
opened it takes its flags over. A `Site` is a check's message and span, so that the same check met twice shares one
flag.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import gcd, prod
from typing import Any

from fedlang.ir.graph import Graph, Node
from fedlang.source import Span
from fedlang.types.dims import Atom, Dim, Quotient, Size

from .dtypes import hidden_axes
from .start import tf


class Unsupported(Exception):
    """This program is outside what the TensorFlow executors run; the words say what and why."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where a check, a print or a probe stands: its words and where it is written."""

    kind: str
    text: str
    span: Span | None


@dataclass(slots=True)
class Scope:
    """Sizes by their atoms (an int, or an int32 scalar), and flags by their sites.

    `multiples`: numbers that the sizes of some atoms are multiples of in every chunk, `clients` among them: the number
    of clients of a chunk.
    """

    sizes: dict[Atom, Any] = field(default_factory=dict)
    flags: dict[Site, Any] = field(default_factory=dict)
    notes: list[tuple[Site, tuple[Any, ...]]] = field(default_factory=list)
    nested: bool = False
    flag_rank: int = 0
    multiples: Mapping[Atom, int] = field(default_factory=dict)
    clients: Atom | None = None
    known: dict[Dim, Any] = field(default_factory=dict)

    def inner(self) -> Scope:
        """The scope of a body: the same sizes, no flags yet."""
        return replace(self, sizes=dict(self.sizes), known=dict(self.known), nested=True, flags={}, notes=[])

    def size(self, size: Size) -> Any:
        """A size's number: an int where it is known now, else an int32 scalar."""
        if isinstance(size, int):
            return size
        if size not in self.known:
            terms = [product_of([number, *(self._atom(a) for a in atoms)]) for atoms, number in size.terms]
            self.known[size] = sum_of(terms)
        return self.known[size]

    def shape(self, sizes: tuple[Size, ...], dtype: str = "") -> list[Any]:
        """A shape's numbers, a key's own axis included."""
        return [*(self.size(size) for size in sizes), *hidden_axes(dtype)]

    def multiple(self, sizes: Iterable[Size]) -> int:
        """A number that the product of the sizes is a multiple of; 0 where nothing depends on a chunk."""
        return prod(map(self._multiple, sizes)) if self.multiples else 0

    def clients_in(self, size: Size) -> Any:
        """The number of clients where a size counts something of each of them; None where it does not."""
        if self.clients is None or isinstance(size, int) or any(self.clients not in atoms for atoms, _ in size.terms):
            return None
        return self._atom(self.clients)

    def _multiple(self, size: Size) -> int:
        if isinstance(size, int):
            return size
        return gcd(*(number * prod(self.multiples.get(atom, 1) for atom in atoms) for atoms, number in size.terms))

    def _atom(self, atom: Atom) -> Any:
        known = self.sizes.get(atom)
        if known is None and isinstance(atom, Quotient):
            known = quotient(atom.kind, self.size(atom.dividend), self.size(atom.divisor))
        if known is None:
            raise Unsupported(f"the size {Dim((((atom,), 1),))} is known from no value")
        return known

    def bind(self, size: Size, number: Any, *, again: bool = False) -> None:
        """Learns the size that is one atom, or one atom times and plus something; others are left."""
        if isinstance(size, int):
            return
        terms = [term for term in size.terms if term[0]]
        if len(terms) != 1 or len(terms[0][0]) != 1 or isinstance(terms[0][0][0], Quotient):
            return
        atom, factor = terms[0][0][0], terms[0][1]
        if again or atom not in self.sizes:
            self.known.clear()
            offset = sum(number for atoms, number in size.terms if not atoms)
            self.sizes[atom] = number if (factor, offset) == (1, 0) else (number - offset) // factor

    def bind_shape(self, sizes: tuple[Size, ...], tensor: Any, *, again: bool = False) -> None:
        """Learns the sizes in a tensor's shape."""
        for axis, size in enumerate(sizes):
            if not isinstance(size, int) and (again or not self.has(size)):
                self.bind(size, extent(tensor, axis), again=again)

    def has(self, size: Dim) -> bool:
        """Whether all names in a size have numbers."""
        return all(isinstance(atom, Quotient) or atom in self.sizes for atoms, _ in size.terms for atom in atoms)

    def flag(self, site: Site, ok: Any) -> None:
        """Remembers that a check went well, or not, beside what it said before."""
        known = self.flags.get(site)
        self.flags[site] = ok if known is None else tf.logical_and(known, ok)


def extent(tensor: Any, axis: int) -> Any:
    """The size of an axis: an int where it is known now. Read once from each tensor, in the tensor's own graph."""
    known = tensor.shape[axis]
    if known is not None:
        return known
    return once([tensor], "sizes", lambda: tf.unstack(tf.shape(tensor), len(tensor.shape)), tensor.graph)[axis]


def once(tensors: list[Any], name: Hashable, make: Callable[[], Any], graph: Any = None) -> Any:
    """What is made of some tensors: once in a graph, which is that of the body that is traced now if none is named."""
    graph = tf.compat.v1.get_default_graph() if graph is None else graph
    made = getattr(graph, "_fedlang_made", None)
    if made is None:
        made = graph._fedlang_made = {}
    key = name, tuple(map(id, tensors))
    if key not in made:
        with graph.as_default():
            made[key] = tensors, make()  # the tensors are kept, so their ids stay theirs
    return made[key][1]


def product_of(numbers: list[Any]) -> Any:
    """The product; ints stay ints."""
    result: Any = 1
    for number in numbers:
        result = number if isinstance(result, int) and result == 1 else result * number
    return result


def sum_of(numbers: list[Any]) -> Any:
    """The sum; ints stay ints."""
    result: Any = 0
    for number in numbers:
        result = number if isinstance(result, int) and result == 0 else result + number
    return result


def quotient(kind: str, dividend: Any, divisor: Any) -> Any:
    """`dividend / divisor`, rounded as `kind` says."""
    return -(-dividend // divisor) if kind == "ceil" else dividend // divisor


def site_of(node: Node, span: Span | None) -> Site | None:
    """The site of a node that may fail."""
    if node.op == "check":
        given = dict(node.attributes)
        return Site(str(given.get("operation", "check")), str(given.get("message", "")), span)
    return Site("batch", "a batch of fewer than 1 elements", span) if node.op == "batch" else None


def sites_in(graph: Graph) -> tuple[Site, ...]:
    """The sites in a graph and in all graphs inside it, in order, each once."""
    found: dict[Site, None] = {}
    for index, node in enumerate(graph.nodes):
        site = site_of(node, graph.spans[index] if graph.spans else None)
        if site is not None:
            found[site] = None
        for _, value in node.attributes:
            if isinstance(value, Graph):
                found |= dict.fromkeys(sites_in(value))
    return tuple(found)
