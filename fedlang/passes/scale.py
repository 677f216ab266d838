"""A scaled matrix product as a product of a scaled factor, where that factor is the smaller.

In: any graph. Out: the same values but for rounding, of the size that a product's own rounding has. A step of gradient
descent multiplies a gradient by its rate, and a dense layer's gradient is a product: `rate * (x^T dy)` goes over a
matrix as large as the weights once more than `x^T (rate * dy)` does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

from fedlang.ir.graph import Builder, Graph, Node, Tensor

from . import emit
from .rewrite import deep, rebuild, scalar_of

FLOATS = ("float32", "float64")  # a rate may take others out of their range
UNKNOWN = 16  # what a size that only data tell is taken for


def sink_scales(graph: Graph) -> Graph:
    """The graph with scales moved into the products that nothing else reads, at every depth."""
    return deep(graph, _sink)


def _sink(graph: Graph) -> Graph:
    reads = Counter(index for node in graph.nodes for index in node.inputs)
    reads.update(graph.results)
    reads.update(graph.effects)
    found = {
        index: _moved
        for index, node in enumerate(graph.nodes)
        if node.op == "multiply" and any(_fits(graph, node, one, reads) for one in (0, 1))
    }
    return rebuild(graph, chosen=found) if found else graph


def _fits(graph: Graph, node: Node, scale: int, reads: Counter[int]) -> bool:
    """Whether one side of a multiplication is one number for all, and the other a product of its own that is larger
    than one of its factors."""
    inner = node.inputs[1 - scale]
    if node.place or graph.nodes[inner].op != "matmul" or reads[inner] != 1:  # a server's step is taken once a round
        return False
    factors = (graph.nodes[index].tensor for index in graph.nodes[inner].inputs)
    return (
        scalar_of(graph.nodes, node.inputs[scale]) is not None
        and node.tensor.dtype in FLOATS
        and min(map(_count, factors)) < _count(node.tensor)
    )


def _count(type: Tensor) -> int:
    return prod(size if isinstance(size, int) else UNKNOWN for size in type.shape)


def _moved(builder: Builder, node: Node) -> int:
    """The multiplication as a product."""
    for one in (0, 1):
        scale, product = scalar_of(builder.nodes, node.inputs[one]), builder.nodes[node.inputs[1 - one]]
        if scale is None or product.op != "matmul":
            continue
        sizes = [_count(builder.nodes[index].tensor) for index in product.inputs]
        small = sizes.index(min(sizes))
        factor = product.inputs[small]
        spread = emit.broadcast(builder, scale, emit.tensor_of(builder, factor).shape, ())
        scaled = emit.binary(builder, "multiply", spread, factor)
        inputs = tuple(scaled if k == small else index for k, index in enumerate(product.inputs))
        return builder.add_node(replace(product, inputs=inputs))
    return builder.add_node(node)
