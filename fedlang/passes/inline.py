"""Calls replaced by what they call.

In: any graph. Out: the same computation without a `call` node, at any depth. Equal calls are still computed once, but
a function that calls another twice with different arguments doubles it, so there is a budget of nodes.
"""

from __future__ import annotations

from fedlang.diagnostics import Diagnostic, DiagnosticError, Label
from fedlang.ir.graph import Builder, Graph, Node
from fedlang.source import Span

from .rewrite import Replacement, graph_of, rebuild, replace_bodies

BUDGET = 1_000_000


def inline(graph: Graph, budget: int = BUDGET) -> Graph:
    """The graph without calls. `DiagnosticError` FED0501 when it would have more than `budget` nodes."""
    return _Inliner(budget).inlined(graph, ())


class _Inliner:
    """Each function is inlined once; `chain` are the names of the calls that lead to where we are."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.known: dict[int, tuple[Graph, Graph]] = {}

    def inlined(self, graph: Graph, chain: tuple[str, ...]) -> Graph:
        if id(graph) not in self.known:
            opened = replace_bodies(graph, lambda body: self.inlined(body, (*chain, *_names(graph, body))))
            self.known[id(graph)] = graph, self._without_calls(opened, chain)
        return self.known[id(graph)][1]

    def _without_calls(self, graph: Graph, chain: tuple[str, ...]) -> Graph:
        if not any(node.op == "call" for node in graph.nodes):
            return graph

        def rule(builder: Builder, node: Node) -> Replacement:
            if node.op != "call":
                return builder.add_node(node)
            body = graph_of(node)
            if len(builder.nodes) + len(body.nodes) > self.budget:
                raise over_budget(self.budget, (*chain, str(node.attribute("name"))), builder.span)
            return builder.inline(body, node.inputs, place=node.place)

        return rebuild(graph, rule)


def _names(graph: Graph, body: Graph) -> tuple[str, ...]:
    """The name of the call whose body this is; none where it is another node's."""
    calls = (node for node in graph.nodes if node.op == "call" and node.attribute("body") is body)
    return tuple(str(node.attribute("name")) for node in calls)[:1]


def over_budget(budget: int, chain: tuple[str, ...], span: Span | None) -> DiagnosticError:
    """FED0501: a program that is too large once its calls are replaced by what they call."""
    return DiagnosticError(
        Diagnostic(
            "FED0501",
            f"this program has more than {budget:,} operations once its calls are written out",
            (Label(span, "this call is one too many"),) if span else (),
            (f"the calls that lead here: {' -> '.join(chain)}",),
            "compute what is used twice once, with `let`, and pass it on",
        )
    )
