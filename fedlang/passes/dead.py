"""What nobody needs removed, inside loops, choices and movements too.

In: any graph. Out: the same results and effects. Every node is needed by a result or an effect; loops carry, give and
capture only what is read, and a movement moves no leaf that nobody reads. Parameters of the graph itself stay.

A loop's carry is needed when its last value is read, or when a step reads it on the way to something needed; that is
found by adding carries until no more are read (rule 15). A `federated_aggregate`'s state goes by the same rule: a field
is needed if `report` reads it, or if `accumulate` or `merge` does on the way to a needed field. A loop or map keeps one
of the things it goes over, because they tell its length; a body keeps a parameter that tells a size it mentions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from fedlang.ir.graph import Graph, Node, prune
from fedlang.ir.sizes import hidden_sources, leaves_of, mentioned_atoms, shown_atoms, sources_needed

from .rewrite import graph_of, index_of, keep_parameters, number_of, select_results, with_attributes

Positions = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slim:
    """A node with less: `node.inputs` are still indices of the old graph, `results` are the old results that stay."""

    node: Node
    results: Positions


def remove_dead(graph: Graph) -> Graph:
    """The graph without what nobody needs."""
    graph = prune(graph)
    slims = _live(graph)
    order = sorted(slims)
    new = {old: position for position, old in enumerate(order)}
    return Graph(
        tuple(_moved(slims[index], slims, new) for index in order),
        tuple(new[index] for index in graph.parameters),
        tuple(new[index] for index in graph.results),
        tuple(new[index] for index in graph.effects),
        tuple(graph.spans[index] for index in order) if graph.spans else (),
        graph.names,
    )


def _moved(slim: Slim, slims: dict[int, Slim], new: dict[int, int]) -> Node:
    node = replace(slim.node, inputs=tuple(new[i] for i in slim.node.inputs))
    if node.op != "get":
        return node
    return with_attributes(node, index=slims[slim.node.inputs[0]].results.index(index_of(node)))


def _live(graph: Graph) -> dict[int, Slim]:
    """The nodes that stay, made slim. Later nodes first: all readers of a node are known when it is reached."""
    inside = (index for index, node in enumerate(graph.nodes) if node.attributes and node.has_effects)
    needed = {*graph.parameters, *graph.results, *graph.effects, *inside}
    sources = hidden_sources(graph)
    read: dict[int, set[int]] = {}
    slims: dict[int, Slim] = {}
    for index in range(len(graph.nodes) - 1, -1, -1):
        if index in needed:
            node = graph.nodes[index]
            slims[index] = slim = _slim(node, tuple(sorted(read.get(index, ()))))
            needed.update(slim.node.inputs, sources_needed(slim.node, sources))
            if node.op == "get":
                read.setdefault(node.inputs[0], set()).add(index_of(node))
    return slims


def _slim(node: Node, read: Positions) -> Slim:
    slimmer = SLIMMERS.get(node.op)
    return slimmer(node, read) if slimmer else Slim(node, tuple(range(len(leaves_of(node.type)))))


def _parameters_read(graph: Graph) -> set[int]:
    """The positions of parameters that the graph reads, or that alone tell a size it mentions."""
    used = {*graph.results, *(i for node in graph.nodes for i in node.inputs)}
    kept = {k for k, index in enumerate(graph.parameters) if index in used}
    unread = {graph.parameters[k] for k in range(len(graph.parameters)) if k not in kept}
    rest = [node for index, node in enumerate(graph.nodes) if index not in unread]
    mentioned = {atom for node in rest for atom in mentioned_atoms(node)}
    shown = {atom for k in kept for atom in shown_atoms(graph.nodes[graph.parameters[k]].type)}
    for k, index in enumerate(graph.parameters):
        tells = shown_atoms(graph.nodes[index].type) & mentioned - shown
        if tells:
            kept.add(k)
            shown |= tells
    return kept


def _types(node: Node, results: Iterable[int]) -> Node:
    leaves = leaves_of(node.type)
    return replace(node, type=tuple(leaves[k] for k in results))


def _one_at_least(kept: Iterable[int], all_of: range) -> Positions:
    found = tuple(k for k in all_of if k in set(kept))
    return found or tuple(all_of)[:1]


def _slim_fold(node: Node, read: Positions) -> Slim:
    captured, carries = number_of(node, "captured"), number_of(node, "carries")
    outputs = tuple(k for k in read if k >= carries)
    live = {k for k in read if k < carries}
    while True:
        body = remove_dead(select_results(graph_of(node), (*sorted(live), *outputs)))
        used = _parameters_read(body)
        more = {k - captured for k in used if captured <= k < captured + carries}
        if more <= live:
            break
        live |= more
    before = tuple(k for k in range(captured) if k in used)
    over = _one_at_least(used, range(captured + carries, len(node.inputs)))
    kept = (*before, *(captured + k for k in sorted(live)), *over)
    results = (*sorted(live), *outputs)
    slim = with_attributes(node, body=keep_parameters(body, kept), captured=len(before), carries=len(live))
    return Slim(_types(replace(slim, inputs=tuple(node.inputs[k] for k in kept)), results), results)


def _slim_map(node: Node, read: Positions) -> Slim:
    captured, body = number_of(node, "captured"), remove_dead(graph_of(node))
    used = _parameters_read(body)
    before = tuple(k for k in range(captured) if k in used)
    kept = (*before, *_one_at_least(used, range(captured, len(node.inputs))))
    slim = with_attributes(node, body=keep_parameters(body, kept), captured=len(before))
    return Slim(replace(slim, inputs=tuple(node.inputs[k] for k in kept)), (0,))


def _slim_cond(node: Node, read: Positions) -> Slim:
    then, otherwise = (remove_dead(select_results(graph_of(node, name), read)) for name in ("then", "otherwise"))
    kept = tuple(sorted(_parameters_read(then) | _parameters_read(otherwise)))
    slim = with_attributes(node, then=keep_parameters(then, kept), otherwise=keep_parameters(otherwise, kept))
    return Slim(_types(replace(slim, inputs=(node.inputs[0], *(node.inputs[1 + k] for k in kept))), read), read)


def _slim_aggregate(node: Node, read: Positions) -> Slim:
    captured = number_of(node, "captured")
    zero, accumulate, merge = (graph_of(node, name) for name in ("zero", "accumulate", "merge"))
    report = remove_dead(select_results(graph_of(node, "report"), read))
    fields = len(zero.results)
    live = {k - captured for k in _parameters_read(report) if k >= captured}
    while True:
        chosen = tuple(sorted(live))
        steps = [remove_dead(select_results(each, chosen)) for each in (accumulate, merge)]
        used = [{k - captured for k in _parameters_read(step) if k >= captured} for step in steps]
        more = {k for k in used[0] if k < fields} | {k % fields for k in used[1] if fields}
        if more <= live:
            break
        live |= more
    zero = remove_dead(select_results(zero, chosen))
    values = _one_at_least((captured + k - fields for k in used[0] if k >= fields), range(captured, len(node.inputs)))
    before = {k for each in (zero, *steps, report) for k in _parameters_read(each) if k < captured}
    first = tuple(sorted(before))
    state, other = tuple(captured + k for k in chosen), tuple(captured + fields + k for k in chosen)
    slim = with_attributes(
        node,
        captured=len(first),
        zero=keep_parameters(zero, first),
        accumulate=keep_parameters(steps[0], (*first, *state, *(k + fields for k in values))),
        merge=keep_parameters(steps[1], (*first, *state, *other)),
        report=keep_parameters(report, (*first, *state)),
    )
    return Slim(_types(replace(slim, inputs=tuple(node.inputs[k] for k in (*first, *values))), read), read)


SLIMMERS: dict[str, Callable[[Node, Positions], Slim]] = {
    "fold": _slim_fold,
    "map": _slim_map,
    "cond": _slim_cond,
    "federated_aggregate": _slim_aggregate,
}
