"""Maps moved to where elements are read, so that no sequence of mapped elements is ever made.

In: a local graph. Out: the same results with fewer `map` nodes. What is done to a mapped sequence is done to the
sequences under it:

    take, skip, repeat, shuffle, filter   choose the elements before they are mapped
    batch                                 batches them before, and maps a batch at a time (the body, batched over the
                                          batch)
    fold                                  maps each element as it is read, in the fold's own body
    stack                                 maps the whole stack at once

A body that cannot be batched stays a `map` where a batch or a stack is made; one that checks or prints always stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from fedlang.ir.graph import Attribute, Builder, Graph, LeafType, Node, NodeType, Sequence, Tensor
from fedlang.types.dims import Atom, Dim, Size, substitute

CHOOSE = ("take", "skip", "repeat", "shuffle", "filter")
# A body for one element to the body for a stack of `size` elements; None where there is none.
Stack: TypeAlias = "Callable[[Graph, int, Size], Graph | None]"


@dataclass(frozen=True, slots=True)
class Mapped:
    """A `map` not made yet: nodes of the new graph for what it captures and what it goes over."""

    body: Graph
    captured: tuple[int, ...]
    sequences: tuple[int, ...]
    type: Sequence


def push_maps(graph: Graph, stack: Stack) -> Graph:
    """The graph with its maps moved, in nested graphs too. `stack` batches a body."""
    if not _has_maps(graph):
        return graph
    return _Push(graph, stack).run()


def _has_maps(graph: Graph) -> bool:
    inside = (value for node in graph.nodes for _, value in node.attributes if isinstance(value, Graph))
    return any(node.op == "map" for node in graph.nodes) or any(_has_maps(each) for each in inside)


class _Push:
    """One graph being rebuilt. `made` has a node, or a map not made yet, for each old node."""

    def __init__(self, graph: Graph, stack: Stack) -> None:
        self.graph, self.stack = graph, stack
        self.builder = Builder()
        self.made: list[int | Mapped] = []

    def run(self) -> Graph:
        effects = set(self.graph.effects)
        for index, node in enumerate(self.graph.nodes):
            self.builder.span = self.graph.spans[index] if self.graph.spans else None
            self.made.append(self._effect(node) if index in effects else self._node(index, node))
        return self.builder.finish(tuple(self._whole(index) for index in self.graph.results))

    def _effect(self, node: Node) -> int:
        return self.builder.add_effect_node(Node(node.op, self._inputs(node), node.attributes, ()))

    def _node(self, index: int, node: Node) -> int | Mapped:
        if node.op == "parameter":
            place = self.graph.parameters.index(index)
            return self.builder.parameter(node.leaf, name=self.graph.names[place] if self.graph.names else "")
        inner = tuple((name, self._pushed(value)) for name, value in node.attributes)
        node = replace(node, attributes=inner)
        if node.op == "map":
            return self._map(node)
        first = self.made[node.inputs[0]] if node.inputs else -1
        if node.op == "fold":
            return self._fold(node)
        if isinstance(first, Mapped):
            return self._of_mapped(node, first)
        return self._copied(node)

    def _pushed(self, value: Attribute) -> Attribute:
        return push_maps(value, self.stack) if isinstance(value, Graph) else value

    def _copied(self, node: Node) -> int:
        return self.builder.add_node(replace(node, inputs=self._inputs(node)))

    def _inputs(self, node: Node) -> tuple[int, ...]:
        return tuple(self._whole(i) for i in node.inputs)

    def _whole(self, index: int) -> int:
        """A node's value, its map made where it is one."""
        made = self.made[index]
        if isinstance(made, Mapped):
            made = self.made[index] = self.builder.add(
                "map", (*made.captured, *made.sequences), made.type, body=made.body, captured=len(made.captured)
            )
        return made

    def _map(self, node: Node) -> int | Mapped:
        """A map of maps is one map."""
        body, captured = node.attribute("body"), node.attribute("captured")
        assert isinstance(body, Graph)
        assert isinstance(captured, int)
        assert isinstance(node.type, Sequence)
        if body.has_effects:
            return self._copied(node)
        outer = tuple(self._whole(i) for i in node.inputs[:captured])
        return self._joined(body, outer, (), node.inputs[captured:], node.type)

    def _joined(
        self, body: Graph, outer: tuple[int, ...], carries: tuple[LeafType, ...], over: tuple[int, ...], type: Sequence
    ) -> Mapped:
        """A body whose last parameters are elements of `over`, as one over the sequences below any maps."""
        builder = Builder()
        made = [self.made[i] for i in over]
        captured: list[int] = [*outer]
        sequences: list[int] = []
        for each in made:
            captured += each.captured if isinstance(each, Mapped) else ()
            sequences += each.sequences if isinstance(each, Mapped) else (each,)
        nodes = self.builder.nodes
        parameters = [builder.parameter(nodes[i].leaf) for i in captured]
        carried = [builder.parameter(each) for each in carries]
        elements = [builder.parameter(_element(nodes[i].leaf)) for i in sequences]
        own, rest = parameters[: len(outer)], parameters[len(outer) :]
        values = []
        for each in made:
            if isinstance(each, Mapped):
                arguments = (*_pop(rest, len(each.captured)), *_pop(elements, len(each.sequences)))
                values.append(builder.inline(each.body, arguments)[0])
            else:
                values.append(elements.pop(0))
        joined = builder.finish(builder.inline(body, (*own, *carried, *values)))
        return Mapped(joined, tuple(captured), tuple(sequences), type)

    def _fold(self, node: Node) -> int:
        body, captured, carries = (node.attribute(name) for name in ("body", "captured", "carries"))
        assert isinstance(body, Graph)
        assert isinstance(captured, int)
        assert isinstance(carries, int)
        over = node.inputs[captured + carries :]
        if not any(isinstance(self.made[i], Mapped) for i in over):
            return self._copied(node)
        outer = tuple(self._whole(i) for i in node.inputs[:captured])
        start = tuple(self._whole(i) for i in node.inputs[captured : captured + carries])
        types = body.parameter_types()[captured : captured + carries]
        joined = self._joined(body, outer, types, over, Sequence(Tensor(""), 0))
        attributes = {**dict(node.attributes), "body": joined.body, "captured": len(joined.captured)}
        inputs = (*joined.captured, *start, *joined.sequences)
        return self.builder.add_node(Node("fold", inputs, tuple(sorted(attributes.items())), node.type))

    def _of_mapped(self, node: Node, mapped: Mapped) -> int | Mapped:
        if node.op in CHOOSE:
            return self._chosen(node, mapped)
        if node.op == "batch":
            return self._batched(node, mapped)
        if node.op == "stack":
            return self._stacked(node, mapped)
        return self._copied(node)

    def _chosen(self, node: Node, mapped: Mapped) -> Mapped:
        assert isinstance(node.type, Sequence)
        rest = tuple(self._whole(i) for i in node.inputs[1:])
        nodes, length = self.builder.nodes, node.type.length
        sequences = tuple(
            self.builder.add_node(
                Node(node.op, (each, *rest), node.attributes, Sequence(_element(nodes[each].leaf), length))
            )
            for each in mapped.sequences
        )
        return replace(mapped, sequences=sequences, type=node.type)

    def _batched(self, node: Node, mapped: Mapped) -> int | Mapped:
        assert isinstance(node.type, Sequence)
        size = node.type.element.shape[0]
        body = self.stack(mapped.body, len(mapped.captured), size)
        if body is None:
            return self._copied(node)
        rest = tuple(self._whole(i) for i in node.inputs[1:])
        sequences = tuple(
            self.builder.add("batch", (each, *rest), self._batches(each, size, node.type.length))
            for each in mapped.sequences
        )
        return Mapped(body, mapped.captured, sequences, node.type)

    def _batches(self, sequence: int, size: Size, length: Size) -> Sequence:
        element = _element(self.builder.nodes[sequence].leaf)
        return Sequence(Tensor(element.dtype, (size, *element.shape)), length)

    def _stacked(self, node: Node, mapped: Mapped) -> int:
        body = self.stack(mapped.body, len(mapped.captured), node.tensor.shape[0])
        if body is None:
            return self._copied(node)
        length = node.tensor.shape[0]
        stacks = []
        for each in mapped.sequences:
            leaf = self.builder.nodes[each].leaf
            element = _element(leaf)
            type = Tensor(element.dtype, (length, *element.shape))
            stacks.append(self.builder.add("stack", (each,), type) if isinstance(leaf, Sequence) else each)
        return self.builder.inline(body, (*mapped.captured, *stacks))[0]


def _element(leaf: LeafType) -> Tensor:
    return leaf.element if isinstance(leaf, Sequence) else Tensor(leaf.dtype, leaf.shape[1:])


def _pop(values: list[int], count: int) -> tuple[int, ...]:
    taken = tuple(values[:count])
    del values[:count]
    return taken


def renamed(graph: Graph, old: Atom, new: Size) -> Graph:
    """The graph with one size called otherwise."""

    def size(each: Size) -> Size:
        return substitute(each, lambda atom: new if atom == old else None)

    nodes = tuple(
        replace(
            node,
            type=_types(node.type, size),
            attributes=tuple((name, _attribute(value, old, new, size)) for name, value in node.attributes),
        )
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _types(type: NodeType, size: Callable[[Size], Size]) -> NodeType:
    return tuple(_leaf(each, size) for each in type) if isinstance(type, tuple) else _leaf(type, size)


def _leaf(leaf: LeafType, size: Callable[[Size], Size]) -> LeafType:
    if isinstance(leaf, Sequence):
        element = Tensor(leaf.element.dtype, tuple(map(size, leaf.element.shape)))
        return Sequence(element, size(leaf.length))
    return Tensor(leaf.dtype, tuple(map(size, leaf.shape)))


def _attribute(value: Attribute, old: Atom, new: Size, size: Callable[[Size], Size]) -> Attribute:
    if isinstance(value, Graph):
        return renamed(value, old, new)
    return size(value) if isinstance(value, Dim) else value
