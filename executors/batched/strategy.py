"""How the clients of a chunk run, and how many go into one: a pure function of the work and of what the machine is.

Vectorised work reads and writes every client's weights at each step; where they leave the cache, running clients one
by one is faster. Convolutions with a kernel for each client have no fast form on a CPU. Measured: vectorised wins for
softmax regression (31 KB) and loses for a network of 200 KB and for every convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedlang.ir.graph import Graph, LeafType, Tensor
from fedlang.passes.batch import Batched
from fedlang.types.dtypes import BYTES

SMALL = 32 << 10  # bytes of a client's own weights up to which vectorised work is faster on a CPU
UNKNOWN = 32  # what a size that is not known yet is taken for


@dataclass(frozen=True, slots=True)
class Strategy:
    """ "vectorised" or "sequential", why, and how many clients at most go into a chunk."""

    name: str
    reason: str
    chunk: int


def choose_strategy(batched: Batched, work: Graph, *, gpu: bool, budget: int) -> Strategy:
    """The strategy "auto" for work that can be vectorised."""
    written = carried_bytes(batched.graph)
    chunk = chunk_size(batched, budget)
    if gpu:
        return Strategy("vectorised", "there is a GPU", chunk)
    if has_operation(work, ("conv2d", "conv2d_input", "conv2d_kernel")):
        return Strategy("sequential", "it has convolutions, and there is no GPU", chunk)
    if written > SMALL:
        return Strategy("sequential", f"each client has {written} bytes of its own weights, more than {SMALL}", chunk)
    return Strategy("vectorised", f"each client has {written} bytes of its own weights", chunk)


def has_operation(graph: Graph, names: tuple[str, ...]) -> bool:
    """Whether a graph, or one inside it, has one of these operations."""
    inside = (value for node in graph.nodes for _, value in node.attributes if isinstance(value, Graph))
    return any(node.op in names for node in graph.nodes) or any(has_operation(each, names) for each in inside)


def carried_bytes(graph: Graph) -> int:
    """The bytes of one client's carries in the batched graph's largest fold."""
    most = 0
    for node in graph.nodes:
        if node.op == "fold":
            body, carries = dict(node.attributes)["body"], dict(node.attributes)["carries"]
            assert isinstance(body, Graph)
            assert isinstance(carries, int)
            own = sum(_client_bytes(type) for type in body.result_types()[:carries])
            most = max(most, own, carried_bytes(body))
    return most


def _client_bytes(type: LeafType) -> int:
    """Bytes for one client of a value whose first axis is that of the clients; 0 for what is shared."""
    if not isinstance(type, Tensor) or not type.shape or isinstance(type.shape[0], int):
        return 0
    count = 1
    for size in type.shape[1:]:
        count *= size if isinstance(size, int) else UNKNOWN
    return count * BYTES[type.dtype]


def chunk_size(batched: Batched, budget: int) -> int:
    """The most clients whose weights (three times: old, new, gradient) and results fit, a multiple of 16."""
    results = sum(_client_bytes(type) for type in batched.graph.result_types())
    each = max(3 * carried_bytes(batched.graph) + results, 1)
    return max(16, min(1024, budget // each // 16 * 16))
