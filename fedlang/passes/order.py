"""The passes, in the order in which they run: data. Every graph between two passes is verified.

In: a federated graph as lowering makes it. Out: one that `to_program` can cut into phases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedlang.ir.graph import Graph
from fedlang.ir.verify import verify_graph

from .common import merge_common
from .constants import fold_constants
from .dead import remove_dead
from .differentiate import Rules, differentiate, no_rules
from .distribute import distribute_loops
from .hoist import hoist_invariants
from .inline import inline
from .join import join_pads
from .pooling import mask_before_spreading
from .scale import sink_scales


@dataclass(frozen=True, slots=True)
class Pass:
    """A step of the compiler: its name, as in `fed ir --after NAME`, and what it does."""

    name: str
    run: Callable[[Graph, Rules], Graph]


PASSES: tuple[Pass, ...] = (
    Pass("inline", lambda graph, rules: inline(graph)),
    Pass("differentiate", differentiate),
    Pass("constants", lambda graph, rules: fold_constants(graph)),
    Pass("common", lambda graph, rules: merge_common(graph)),
    Pass("join", lambda graph, rules: join_pads(graph)),
    Pass("pooling", lambda graph, rules: mask_before_spreading(graph)),
    Pass("hoist", lambda graph, rules: hoist_invariants(graph)),
    Pass("distribute", lambda graph, rules: distribute_loops(graph)),
    Pass("scale", lambda graph, rules: sink_scales(graph)),
    Pass("dead", lambda graph, rules: remove_dead(graph)),
)


def run_passes(
    graph: Graph, stop_after: str | None = None, rules: Rules = no_rules, passes: tuple[Pass, ...] = PASSES
) -> Graph:
    """The graph after all passes, or after the one named. `KeyError` for a name that is none."""
    if stop_after is not None and stop_after not in [each.name for each in passes]:
        raise KeyError(stop_after)
    verify_graph(graph, level="federated")
    for each in passes:
        before, graph = graph, each.run(graph, rules)
        if graph is not before:
            verify_graph(graph, level="federated")
        if each.name == stop_after:
            break
    return graph
