"""How functions from Python batch: the calls of all clients become one node, where the function allows it.

The node says in `batched` which of its arguments have the axis of clients; others are the same for all. Where clients'
batches differ in size, arguments are padded with zeros, and one more input follows them, int32 [C]: how many rows are
each client's own (`padded`). Only a function that was made for it is called so (`Batching.apart`), so that no other
ever sees a padded row.
"""

from __future__ import annotations

from fedlang.ir.graph import LeafType, Node, Tensor
from fedlang.types.dims import Size

from .batch_values import Batching, Known, NotBatchable, Value


def extern(batching: Batching, node: Node, inputs: list[Known], types: list[LeafType]) -> list[Known]:
    """A call, or its derivative: `arguments` inputs, then the cotangents."""
    values, tensors = _tensors(node, inputs, types)
    count = dict(node.attributes).get("arguments", len(values))
    assert isinstance(count, int)
    results = tuple(leaf for leaf in (node.type if isinstance(node.type, tuple) else (node.type,)))
    rows = _rows(batching, node, tensors[:count])
    if rows is None and not any(value.batched for value in values):
        return _copied(batching, node, values)
    values = [batching.clean(value, type.shape) for value, type in zip(values, tensors, strict=True)]
    batched = tuple(value.batched for value in values[:count])
    if reason := batching.apart(str(node.attribute("handle"))):
        raise NotBatchable(reason, node)
    arguments = tuple(value.id for value in values[:count])
    counts = () if rows is None else (batching.length_of(rows),)
    cotangents = tuple(batching.up(value) for value in values[count:])
    attributes = {**dict(node.attributes), "batched": tuple(map(int, batched)), "padded": rows is not None}
    made = tuple(_stacked(batching, node, leaf) for leaf in results)
    index = batching.builder.add_node(
        Node(node.op, (*arguments, *counts, *cotangents), tuple(sorted(attributes.items())), made)
    )
    return [
        Value(batching.builder.get(index, k), True, batching.pad_of(leaf.shape))
        for k, leaf in enumerate(results)
        if isinstance(leaf, Tensor)
    ]


def _tensors(node: Node, inputs: list[Known], types: list[LeafType]) -> tuple[list[Value], list[Tensor]]:
    values = [each for each in inputs if isinstance(each, Value)]
    tensors = [type for type in types if isinstance(type, Tensor)]
    if len(values) != len(inputs) or len(tensors) != len(types):
        raise NotBatchable(f"`{node.attribute('handle')}` from Python is given a sequence", node)
    return values, tensors


def _rows(batching: Batching, node: Node, types: list[Tensor]) -> Size | None:
    """The size that differs between clients: that of the batch, the first axis of some arguments."""
    found = {size for type in types for size in type.shape if batching.is_ragged(size)}
    if not found:
        return None
    if len(found) > 1 or any(batching.ragged_axes(type.shape) not in ((), (0,)) for type in types):
        raise NotBatchable(f"`{node.attribute('handle')}` from Python has arguments that differ in several sizes", node)
    (rows,) = found
    return rows


def _stacked(batching: Batching, node: Node, leaf: LeafType) -> Tensor:
    """A result with the axis of clients. A size that only the call tells might differ from client to client."""
    assert isinstance(leaf, Tensor)
    if node.op == "extern" and any(not isinstance(size, int) for size in leaf.shape):
        raise NotBatchable(f"`{node.attribute('handle')}` from Python has a result of a size of its own", node)
    return Tensor(leaf.dtype, batching.full(leaf.shape))


def _copied(batching: Batching, node: Node, values: list[Value]) -> list[Known]:
    """A call that is the same for all clients."""
    made = Node(node.op, tuple(value.id for value in values), node.attributes, node.type)
    index = batching.builder.add_node(made)
    if not isinstance(node.type, tuple):
        return [Value(index, False)]
    return [Value(batching.builder.get(index, k), False) for k in range(len(node.type))]
