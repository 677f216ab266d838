"""What is the same in every step of a loop, computed once before it.

In: any graph. Out: the same values; in the body of a fold or map nothing of weight depends on captured values alone.

A node moves out when all its inputs do, or are captured, or are known without any input; it must have no effect and
mention only sizes that the captured values tell. What only repeats or rearranges elements stays inside: carrying the
larger tensor into the loop would cost more than making it there. A loop of no steps computes in vain what is moved;
that is harmless, because operations never raise.
"""

from __future__ import annotations

from dataclasses import replace

from fedlang.ir.graph import Builder, Graph, Node
from fedlang.ir.operations import OPERATIONS
from fedlang.ir.sizes import mentioned_atoms, shown_atoms

from .rewrite import Replacement, deep, graph_of, keep, number_of, rebuild, with_attributes

WORTH_MOVING = ("elementwise", "reduction", "contraction", "gather", "random", "control")


def hoist_invariants(graph: Graph) -> Graph:
    """The graph with what loops compute again and again moved before them, inner loops first."""
    return deep(graph, lambda each: rebuild(each, _moved) if _has_loop(each) else each)


def _has_loop(graph: Graph) -> bool:
    return any(node.op in ("fold", "map") for node in graph.nodes)


def _moved(builder: Builder, node: Node) -> Replacement:
    if node.op not in ("fold", "map"):
        return keep(builder, node)
    body, captured = graph_of(node), number_of(node, "captured")
    edge = _edge(body, captured)
    if not edge:
        return keep(builder, node)
    before, rest = node.inputs[:captured], node.inputs[captured:]
    values = builder.inline(_outside(body, captured, edge), before, place=node.place)
    inside = with_attributes(node, body=_inside(body, captured, edge), captured=captured + len(edge))
    return builder.add_node(replace(inside, inputs=(*before, *values, *rest)))


def _edge(body: Graph, captured: int) -> tuple[int, ...]:
    """The nodes to move that something that stays reads."""
    parameters = body.parameters[:captured]
    told = frozenset(atom for i in parameters for atom in shown_atoms(body.nodes[i].type))
    fixed: set[int] = set(parameters)  # from captured values, at least one
    free: set[int] = set()  # from nothing
    for index, node in enumerate(body.nodes):
        if node.op == "parameter" or index in body.effects or node.has_effects or mentioned_atoms(node) - told:
            continue
        if all(i in free for i in node.inputs):
            free.add(index)
        elif all(i in fixed or i in free for i in node.inputs):
            fixed.add(index)
    return _read_by_others(body, fixed - set(parameters))


def _read_by_others(body: Graph, fixed: set[int]) -> tuple[int, ...]:
    """Those that a node that stays reads, and that are worth it. What is not worth it stays with its readers."""
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(body.nodes):
        for i in node.inputs:
            readers.setdefault(i, []).append(index)
    edge: list[int] = []
    staying: set[int] = {index for index in range(len(body.nodes)) if index not in fixed}
    for index in sorted(fixed, reverse=True):
        is_read = index in body.results or any(reader in staying for reader in readers.get(index, ()))
        if is_read and _is_worth(body, body.nodes[index]):
            edge.append(index)
        elif is_read:
            staying.add(index)
    return tuple(sorted(edge))


def _is_worth(body: Graph, node: Node) -> bool:
    if isinstance(node.type, tuple):
        return False
    made = body.nodes[node.inputs[0]] if node.op == "get" else node
    return OPERATIONS[made.op].group in WORTH_MOVING


def _outside(body: Graph, captured: int, edge: tuple[int, ...]) -> Graph:
    """The graph of what moves: captured values to the values at the edge."""
    builder = Builder()
    new = {i: builder.parameter(body.nodes[i].leaf) for i in body.parameters[:captured]}
    needed, pending = set(edge), list(edge)
    while pending:
        for i in body.nodes[pending.pop()].inputs:
            if i not in needed and i not in new:
                needed.add(i)
                pending.append(i)
    for index in sorted(needed):
        node = body.nodes[index]
        builder.span = body.spans[index] if body.spans else None
        new[index] = builder.add_node(replace(node, inputs=tuple(new[i] for i in node.inputs)))
    return builder.finish(tuple(new[index] for index in edge))


def _inside(body: Graph, captured: int, edge: tuple[int, ...]) -> Graph:
    """The body with the values at the edge as captured ones."""
    builder = Builder()
    new = {i: builder.parameter(body.nodes[i].leaf) for i in body.parameters[:captured]}
    new |= {i: builder.parameter(body.nodes[i].leaf) for i in edge}
    new |= {i: builder.parameter(body.nodes[i].leaf) for i in body.parameters[captured:]}
    for index, node in enumerate(body.nodes):
        if index in new:
            continue
        builder.span = body.spans[index] if body.spans else None
        copied = replace(node, inputs=tuple(new[i] for i in node.inputs))
        new[index] = builder.add_effect_node(copied) if index in body.effects else builder.add_node(copied)
    return builder.finish(tuple(new[index] for index in body.results))
