"""Masks and sums of what a pooling's derivative spreads over an image, taken before it is spread.

In: any graph. Out: the same values but for rounding in sums, and the sign of zeros. A layer of a network convolves,
cuts off at zero and pools, so its derivative spreads a cotangent over the image by max pooling's rule, sets it to zero
where the image was cut off, and adds it up for the bias: twice over an image that is four times as large as what was
pooled. Both can be had from what was pooled:

    select(x > c, max_pool_gradient(x, y, dy), 0)    max_pool_gradient(x, y, select(y > c, dy, 0))
    reduce_sum(max_pool_gradient(x, y, dy))          reduce_sum(dy), over the axes of the window at least

The first holds because `dy` goes to elements that equal their window's maximum `y`; the second because each goes to
one element. What average pooling spreads adds up to `dy`, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from fedlang.ir.graph import Builder, Graph, Node, Tensor

from .rewrite import deep, numbers_of, rebuild, scalar_of

WINDOW = (1, 2)  # its axes
COTANGENT = {"max_pool_gradient": 2, "average_pool_gradient": 0}  # which input


def mask_before_spreading(graph: Graph) -> Graph:
    """The graph with masks and sums taken before a pooling's derivative, at every depth."""
    return deep(graph, lambda each: _changed(each) if any(node.op in COTANGENT for node in each.nodes) else each)


def _changed(graph: Graph) -> Graph:
    reads = Counter(index for node in graph.nodes for index in node.inputs)
    reads.update((*graph.results, *graph.effects))
    found = {
        index: _masked
        for index, node in enumerate(graph.nodes)
        if node.op == "select" and reads[node.inputs[1]] == 1 and _is_mask_of_pooled(graph.nodes, node)
    }
    return rebuild(rebuild(graph, chosen=found) if found else graph, _summed)


def _is_mask_of_pooled(nodes: tuple[Node, ...], node: Node) -> bool:
    """Whether the selection sets to zero what is spread over elements that are not above one number."""
    condition, spread = (nodes[index] for index in node.inputs[:2])
    return (
        spread.op == "max_pool_gradient"
        and condition.op == "greater"
        and condition.inputs[0] == spread.inputs[0]
        and scalar_of(nodes, condition.inputs[1]) is not None
        and _is_zero(nodes, node.inputs[2])
    )


def _is_zero(nodes: tuple[Node, ...], index: int) -> bool:
    scalar = scalar_of(nodes, index)
    return scalar is not None and nodes[scalar].op == "constant" and nodes[scalar].attribute("value") == 0


def _masked(builder: Builder, node: Node) -> int:
    """The selection made of the pooled cotangent, where the selection was made."""
    condition, spread = (builder.nodes[index] for index in node.inputs[:2])  # they are there: nothing is left out yet
    x, y, dy = spread.inputs
    pooled, place = builder.nodes[y].tensor, node.place

    def repeated(index: int) -> int:
        scalar = scalar_of(builder.nodes, index)
        assert scalar is not None, "the selection is of one number"
        return builder.add("broadcast", (scalar,), pooled, place=place, axes=())

    bound, zero = repeated(condition.inputs[1]), repeated(node.inputs[2])
    above = builder.add("greater", (y, bound), Tensor("bool", pooled.shape), place=place)
    kept = builder.add("select", (above, dy, zero), pooled, place=place)
    return builder.add_node(replace(spread, inputs=(x, y, kept), place=place))


def _summed(builder: Builder, node: Node) -> int:
    """A sum of what is spread as the sum of what it is spread from."""
    if node.op == "reduce_sum":
        spread = builder.nodes[node.inputs[0]]
        if spread.op in COTANGENT and {*numbers_of(node, "axes")} >= {*WINDOW}:
            return builder.add_node(replace(node, inputs=(spread.inputs[COTANGENT[spread.op]],)))
    return builder.add_node(node)
