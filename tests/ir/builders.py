"""Small graphs that several tests use."""

from __future__ import annotations

from fedlang.ir.graph import Builder, Graph, Tensor
from fedlang.types.dims import named

N = named("n")
SCALAR = Tensor("float32")
ROW = Tensor("float32", (3,))
ROWS = Tensor("float32", (N, 3))


def doubling() -> Graph:
    """A body: carry + item, and the item doubled as an output."""
    b = Builder()
    carry, item = b.parameter(ROW), b.parameter(ROW)
    return b.finish((b.add("add", (carry, item), ROW), b.add("add", (item, item), ROW)))


def folding() -> Graph:
    """A fold over the rows of a parameter."""
    b = Builder()
    start, rows = b.parameter(ROW, name="start"), b.parameter(ROWS, name="rows")
    fold = b.add("fold", (start, rows), (ROW, ROWS), body=doubling(), captured=0, carries=1, reverse=False)
    return b.finish((b.get(fold, 0), b.get(fold, 1)))


def mean_of_clients() -> Graph:
    """Clients scale what they are sent by their data; the server takes the mean."""
    b = Builder()
    model = b.parameter(ROW, name="model", place="server")
    data = b.parameter(ROW, name="data", place="clients")
    sent = b.add("federated_broadcast", (model,), ROW, place="shared")
    update = b.add("multiply", (sent, data), ROW, place="clients")
    weight = b.add("reduce_sum", (data,), SCALAR, place="clients", axes=(0,))
    return b.finish((b.add("federated_mean", (update, weight), ROW, place="server", path="update"),))
