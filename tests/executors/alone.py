"""What a client computes alone, among others, and on the reference; and what one graph does of one client's.

In: a computation whose result is each client's own, what all share, and the clients' data by their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedlang.executors.tensorflow.chunks import sequential_work
from fedlang.executors.tensorflow.work import Readable
from fedlang.ir.graph import Graph
from fedlang.run.executor import ClientTask
from fedlang.run.registry import get_executor


def assert_alone_as_among_others(
    computation: Any, shared: Any, data: Mapping[str, Any], strategy: str, *, atol: float
) -> Any:
    """Each client has the same bits in either company on `batched`, and is close to the reference. What all have
    together."""
    executor = get_executor("batched", strategy=strategy)
    together = computation.run((shared, data), executor=executor)
    expected = computation.run((shared, data), executor=get_executor("reference"))
    for client, own in data.items():
        found = computation.run((shared, {client: own}), executor=executor)[client]
        np.testing.assert_array_equal(found, together[client])
        np.testing.assert_allclose(found, expected[client], rtol=1e-4, atol=atol)
    return together


def run_tensorflow(graph: Graph, arguments: tuple[Any, ...]) -> list[Any]:
    """The results for one client, all of whose parameters are its own."""
    work = sequential_work(graph, (True,) * len(arguments))
    read = Readable.of([ClientTask(0, "a", lambda: arguments)], [arguments])
    chunk = work.run([], work.pack(read), read)
    if chunk.failures:
        raise chunk.failures[0].error
    return [result[0] for result in chunk.results]
