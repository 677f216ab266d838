"""Derivatives: `gradient` nodes replaced by the computation that they ask for.

In: any graph without `call`. Out: the same without `gradient`, at any depth.

Reverse mode. A body is copied into a builder, node by node; then the nodes are gone through from last to first, and
each one that has a cotangent (the derivative of the loss by it) gives one to each of its active inputs, by its rule. A
node that is not active, or that the loss does not depend on, is never looked at; a zero is not made until something
needs it as a value. The forward nodes are in the same builder, so nothing is computed twice: rules see inputs, result
and cotangent. What comes out is an ordinary graph: it can be differentiated again, which is how second derivatives are
made. Nested `gradient` nodes go innermost first.

Loops (rule 19; the construction is the tape of reverse mode with the loop kept: Griewank and Walther, *Evaluating
Derivatives*, 2nd ed., chapter 12, storing every state). A fold computes c[t+1], y[t] = f(k, c[t], x[t]). Forward, the
fold is *replaced* by one that gives the carries before each step, c[t], as further outputs, so it still runs once.
Backward, a fold in the other direction carries the cotangents of the carries and sums those of what is captured:

    step t:  recompute f(k, c[t], x[t]) inside the body, differentiate it there with (dc, dy[t]) and get
             dc for the step before,  dk + its share,  dx[t] as an output

It starts with the cotangents of the last carries. Saved are the carries and the results of contractions (matrix
products and convolutions), which cost more to compute again than to keep; each step's other values are computed once
more from those. Which carries have a cotangent at all is found first, as a fixed point: those whose last value has one,
and those that a step reads on the way to such a carry or to an output that has one. Saved values that the backward body
does not read are removed by the dead code pass, with their outputs.

A choice is differentiated in both branches; the cotangents of the branch that is not taken are zeros, chosen, not
multiplied, so its infinities do not matter. Each branch recomputes its inner values. A map is a fold without carries.

Sequences: the cotangent of a sequence is one tensor, its elements' cotangents stacked.
Effects happen forward only: what is recomputed is stripped of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from fedlang.diagnostics import Diagnostic, DiagnosticError, Label
from fedlang.ir.graph import Builder, Graph, LeafType, Node, Tensor
from fedlang.ir.rules import is_float, length_of
from fedlang.ir.sizes import leaves_of
from fedlang.source import Span
from fedlang.types.dims import Size, atoms_of

from . import derivatives, emit
from .activity import Activity, has_derivative, loop_activity
from .inline import inline
from .rewrite import Replacement, copy_parameters, deep, graph_of, index_of, number_of, rebuild, with_attributes

# For an operation and its inputs' types: a graph over inputs, results and the results' cotangents, with a result for
# each input that is a float tensor. None: not differentiable.
Rules = Callable[[Node, tuple[LeafType, ...]], Graph | None]


def no_rules(node: Node, types: tuple[LeafType, ...]) -> Graph | None:
    """Only the structural operations are differentiable."""
    return None


def differentiate(graph: Graph, rules: Rules = no_rules) -> Graph:
    """The graph without `gradient` nodes. `DiagnosticError` FED0502 where a derivative meets an operation with none."""
    differentiator = _Differentiator(rules)
    return deep(graph, differentiator.remove_gradients)


class _Differentiator:
    """The rules, and what was derived already."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.known: dict[tuple[int, int], tuple[Graph, Graph]] = {}
        self.known_rules: dict[tuple[Node, tuple[LeafType, ...]], Graph | None] = {}

    def remove_gradients(self, graph: Graph) -> Graph:
        if not any(node.op == "gradient" for node in graph.nodes):
            return graph

        def rule(builder: Builder, node: Node) -> Replacement:
            if node.op != "gradient":
                return builder.add_node(node)
            body = graph_of(node)
            derived = self.derived(body, number_of(node, "count"))
            results = builder.inline(derived, node.inputs, place=node.place)
            return results if node.attribute("value") else results[len(body.results) :]

        return rebuild(graph, rule)

    def derived(self, body: Graph, count: int) -> Graph:
        """The body's results, then the derivatives of result 0 by its first parameters."""
        key = (id(body), count)
        if key not in self.known:
            self.known[key] = body, self._derive(body, count)
        return self.known[key][1]

    def _derive(self, body: Graph, count: int) -> Graph:
        builder = Builder()
        arguments = tuple(copy_parameters(builder, body).values())
        tape = Tape(self, builder, Activity(body, frozenset(range(count))), {0})
        results = tape.forward(arguments)
        loss = body.results[0]
        tape.seed(loss, emit.full(builder, 1, body.nodes[loss].tensor))
        tape.backward()
        return builder.finish((*results, *(tape.cotangent_of(body.parameters[k]) for k in range(count))))

    def rule(self, node: Node, types: tuple[LeafType, ...]) -> Graph | None:
        """The graph that the rules give for a node, made once for each kind of node."""
        key = replace(node, inputs=()), types
        if key not in self.known_rules:
            found = self.rules(node, types)
            self.known_rules[key] = inline(found) if found else None
        return self.known_rules[key]


class Tape:
    """One graph copied into a builder, and the cotangents of its nodes.

    `wanted` are the positions of results that get a cotangent. `again` says that the graph is recomputed, so without
    effects.
    """

    def __init__(
        self,
        owner: _Differentiator,
        builder: Builder,
        activity: Activity,
        wanted: Iterable[int],
        *,
        again: bool = False,
    ) -> None:
        self.owner = owner
        self.builder = builder
        self.graph = activity.graph
        self.active = activity.parts
        self.needed = activity.needed(wanted)
        self.again = again
        self.values: list[int | None] = []
        self.cotangents: dict[tuple[int, int], int] = {}

    # Forward.

    def forward(
        self, arguments: Sequence[int | None], known: Mapping[int, int] = MappingProxyType({})
    ) -> tuple[int, ...]:
        """Copies the graph; gives its results.

        An argument that is None must not be read. `known` are values of inner nodes, which are not computed again.
        """
        given = {**dict(zip(self.graph.parameters, arguments, strict=True)), **known}
        effects = set(self.graph.effects)
        for index in range(len(self.graph.nodes)):
            if index in given:
                self.values.append(given[index])
            elif index in effects:
                self.values.append(None if self.again else self.builder.add_effect_node(self._copied(index)))
            else:
                self.values.append(self.builder.add_node(self._copied(index)))
            self._see(index)
        return tuple(self.value(index) for index in self.graph.results)

    def _see(self, index: int) -> None:
        self.builder.span = self._span(index)

    def _copied(self, index: int) -> Node:
        node = self.graph.nodes[index]
        self._see(index)
        node = replace(node, inputs=tuple(self.value(i) for i in node.inputs))
        if self.again and node.has_effects:
            node = _without_effects(node)
        if node.op != "fold" or index not in self.needed:
            return node
        over = self.builder.nodes[node.inputs[number_of(node, "captured") + number_of(node, "carries")]]
        return _saving(node, length_of(over.leaf))

    def value(self, index: int) -> int:
        """A node's copy."""
        value = self.values[index]
        if value is None:
            raise not_differentiable("a loop that carries a sequence", self._span(index))
        return value

    def _span(self, index: int) -> Span | None:
        return self.graph.spans[index] if self.graph.spans else None

    # Backward.

    def seed(self, index: int, cotangent: int, part: int = 0) -> None:
        """Adds to the cotangent of a result of a node, where that is active."""
        if part not in self.active.get(index, ()):
            return
        before = self.cotangents.get((index, part))
        self.cotangents[index, part] = (
            cotangent if before is None else emit.binary(self.builder, "add", before, cotangent)
        )

    def cotangent_of(self, index: int) -> int:
        """The cotangent of a node with one result: zeros where nothing came."""
        found = self.cotangents.get((index, 0))
        type = emit.stacked(self.graph.nodes[index].leaf)
        return emit.full(self.builder, 0, type) if found is None else found

    def backward(self) -> None:
        """Gives every node's cotangents on to its inputs, from last to first."""
        for index in sorted(self.needed, reverse=True):
            node = self.graph.nodes[index]
            parts = {k: self.cotangents[index, k] for k in range(_count(node)) if (index, k) in self.cotangents}
            if parts and node.op != "parameter":
                self._see(index)
                BACKWARD.get(node.op, Tape.by_rule)(self, index, node, parts)

    def inputs(self, node: Node) -> tuple[int, ...]:
        """The copies of a node's inputs."""
        return tuple(self.value(i) for i in node.inputs)

    def active_inputs(self, node: Node) -> frozenset[int]:
        """The positions of a node's active inputs."""
        return frozenset(position for position, i in enumerate(node.inputs) if i in self.active)

    def by_rule(self, index: int, node: Node, parts: dict[int, int]) -> None:
        """An ordinary operation: by the table, or else by the language's own rule."""
        copied = replace(node, inputs=self.inputs(node))
        if node.op in derivatives.RULES:
            found = derivatives.RULES[node.op](self.builder, copied, self.value(index), parts[0])
        else:
            found = self._by_language(index, copied, parts)
        for i, cotangent in zip(node.inputs, found, strict=True):
            if cotangent is not None:
                self.seed(i, cotangent)

    def _by_language(self, index: int, node: Node, parts: dict[int, int]) -> derivatives.Cotangents:
        types = tuple(self.builder.nodes[i].leaf for i in node.inputs)
        graph = self.owner.rule(node, types)
        active = [types[k] for k in self.active_inputs(self.graph.nodes[index])]
        if graph is None or not all(map(is_float, active)):
            raise not_differentiable(f"`{node.op}`", self._span(index))
        value, builder = self.value(index), self.builder
        leaves = leaves_of(node.type)
        results = [builder.get(value, k) for k in range(len(leaves))] if isinstance(node.type, tuple) else [value]
        cotangents = [
            parts[k] if k in parts else emit.full(builder, 0, emit.stacked(leaf))
            for k, leaf in enumerate(leaves)
            if has_derivative(leaf)
        ]
        given = iter(builder.inline(graph, (*node.inputs, *results, *cotangents)))
        return tuple(next(given) if is_float(type) else None for type in types)

    def by_get(self, index: int, node: Node, parts: dict[int, int]) -> None:
        """A result of a node with several."""
        self.seed(node.inputs[0], parts[0], index_of(node))

    def by_fold(self, index: int, node: Node, parts: dict[int, int]) -> None:
        """A loop: a fold in the other direction over the saved carries."""
        captured, carries = number_of(node, "captured"), number_of(node, "carries")
        values = self.inputs(node)
        over = values[captured + carries :]
        saved = self._saved(index, node)
        activity = loop_activity(node, self.active_inputs(node))
        kept = contractions_in(graph_of(node), captured + carries)
        at = len(leaves_of(self.builder.nodes[self.value(index)].type)) - len(kept)
        products = {inner: self.builder.get(self.value(index), at + k) for k, inner in enumerate(kept)}
        carried = values[captured : captured + carries]
        self._reverse_loop(node, activity, parts, values[:captured], carried, saved, products, over)

    def _saved(self, index: int, node: Node) -> list[int | None]:
        """The carries before each step, that the forward fold gives after its own results; None for a sequence."""
        types = graph_of(node).parameter_types()[number_of(node, "captured") :][: number_of(node, "carries")]
        at, saved = _count(node), list[int | None]()
        for type in types:
            saved.append(self.builder.get(self.value(index), at) if isinstance(type, Tensor) else None)
            at += isinstance(type, Tensor)
        return saved

    def by_map(self, index: int, node: Node, parts: dict[int, int]) -> None:
        """A loop that carries nothing; its output's cotangent is stacked."""
        captured, values = number_of(node, "captured"), self.inputs(node)
        activity = Activity(graph_of(node), self.active_inputs(node))
        self._reverse_loop(node, activity, parts, values[:captured], (), [], {}, values[captured:])

    def _reverse_loop(
        self,
        node: Node,
        activity: Activity,
        parts: dict[int, int],
        captured: tuple[int, ...],
        carries: tuple[int, ...],
        saved: Sequence[int | None],
        products: Mapping[int, int],
        over: tuple[int, ...],
    ) -> None:
        first, count, builder = len(captured), len(carries), self.builder
        live = _live_carries(activity, parts, first, count)
        outputs = sorted(k for k in parts if k >= count)
        reached = activity.reached((*live, *outputs))
        shared = sorted(k for k in reached if k < first)
        items = sorted(k - first - count for k in reached if k >= first + count)
        body = _Reverse(self.owner, activity, first, count, live, shared, items, outputs, tuple(products)).body()
        types = activity.graph.parameter_types()

        def zero(type: LeafType) -> int:
            return emit.full(builder, 0, emit.stacked(type))

        starts = [parts[k] if k in parts else zero(types[first + k]) for k in live]
        starts += [zero(types[k]) for k in shared]
        kept = [each for each in saved if each is not None]
        rows = [parts[k] for k in outputs]
        length = length_of(builder.nodes[over[0]].leaf)
        results = body.result_types()
        carried = len(starts)
        stacks = tuple(Tensor(t.dtype, (length, *t.shape)) for t in results[carried:] if isinstance(t, Tensor))
        backward = builder.add(
            "fold",
            (*captured, *starts, *kept, *products.values(), *over, *rows),
            (*results[:carried], *stacks),
            body=body,
            captured=first,
            carries=carried,
            reverse=not (node.op == "fold" and node.attribute("reverse")),
        )
        targets = (*(first + k for k in live), *shared, *(first + count + k for k in items))
        for position, target in enumerate(targets):
            self.seed(node.inputs[target], builder.get(backward, position))

    def by_extern(self, index: int, node: Node, parts: dict[int, int]) -> None:
        """A function from Python: one node that asks it for its vector-Jacobian product (rule 21)."""
        values, builder = self.inputs(node), self.builder
        types = [builder.nodes[i].leaf for i in values]
        floats = [k for k, type in enumerate(types) if is_float(type)]
        results = [(k, emit.stacked(leaf)) for k, leaf in enumerate(leaves_of(node.type)) if has_derivative(leaf)]
        cotangents = [parts[k] if k in parts else emit.full(builder, 0, type) for k, type in results]
        backward = builder.add(
            "extern_vjp",
            (*values, *cotangents),
            tuple(emit.stacked(types[k]) for k in floats),
            handle=node.attribute("handle"),
            arguments=len(values),
        )
        for position, k in enumerate(floats):
            if k in self.active_inputs(node):
                self.seed(node.inputs[k], builder.get(backward, position))

    def by_cond(self, index: int, node: Node, parts: dict[int, int]) -> None:
        """A choice: both branches differentiated."""
        results = sorted(parts)
        start = frozenset(k - 1 for k in self.active_inputs(node) if k)
        branches = {name: Activity(graph_of(node, name), start) for name in ("then", "otherwise")}
        reached = sorted(frozenset().union(*(branch.reached(results) for branch in branches.values())))
        then, otherwise = (self._branch(branch, results, reached) for branch in branches.values())
        inputs = (*self.inputs(node), *(parts[k] for k in results))
        backward = self.builder.add("cond", inputs, then.result_types(), then=then, otherwise=otherwise)
        for position, k in enumerate(reached):
            self.seed(node.inputs[k + 1], self.builder.get(backward, position))

    def _branch(self, activity: Activity, results: list[int], reached: list[int]) -> Graph:
        builder, graph = Builder(), activity.graph
        arguments = [builder.parameter(type) for type in graph.parameter_types()]
        cotangents = [builder.parameter(emit.stacked(graph.result_types()[k])) for k in results]
        tape = Tape(self.owner, builder, activity, results, again=True)
        tape.forward(arguments)
        for k, cotangent in zip(results, cotangents, strict=True):
            tape.seed(graph.results[k], cotangent)
        tape.backward()
        return builder.finish(tuple(tape.cotangent_of(graph.parameters[k]) for k in reached))


class _Reverse:
    """The body of a backward loop.

    Parameters: captured; the cotangents of live carries, the sums for what is captured; then, of one step, the saved
    carries and products, the elements, the cotangents of outputs. Results: the new cotangents, the new sums, the
    cotangents of elements.
    """

    def __init__(
        self,
        owner: _Differentiator,
        activity: Activity,
        captured: int,
        carries: int,
        live: list[int],
        shared: list[int],
        items: list[int],
        outputs: list[int],
        products: tuple[int, ...],
    ) -> None:
        self.builder = Builder()
        self.products = products
        self.graph = activity.graph
        self.first, self.count = captured, carries
        self.live, self.shared, self.items, self.outputs = live, shared, items, outputs
        self.tape = Tape(owner, self.builder, activity, (*live, *outputs), again=True)

    def body(self) -> Graph:
        types, results = self.graph.parameter_types(), self.graph.result_types()
        known = [self.builder.parameter(type) for type in types[: self.first]]
        carried = [self._cotangent(types[self.first + k]) for k in self.live]
        sums = [self._cotangent(types[k]) for k in self.shared]
        saved = [self._saved(type) for type in types[self.first : self.first + self.count]]
        products = {index: self.builder.parameter(self.graph.nodes[index].leaf) for index in self.products}
        elements = [self.builder.parameter(type) for type in types[self.first + self.count :]]
        rows = [self._cotangent(results[k]) for k in self.outputs]
        self.tape.forward((*known, *saved, *elements), products)
        for k, cotangent in zip((*self.live, *self.outputs), (*carried, *rows), strict=True):
            self.tape.seed(self.graph.results[k], cotangent)
        self.tape.backward()
        return self._finish(sums)

    def _cotangent(self, type: LeafType) -> int:
        return self.builder.parameter(emit.stacked(type))

    def _saved(self, type: LeafType) -> int | None:
        return self.builder.parameter(type) if isinstance(type, Tensor) else None

    def _finish(self, sums: list[int]) -> Graph:
        builder, tape, parameters = self.builder, self.tape, self.graph.parameters
        carries = [tape.cotangent_of(parameters[self.first + k]) for k in self.live]
        shares = [tape.cotangents.get((parameters[k], 0)) for k in self.shared]
        new = [
            total if share is None else emit.binary(builder, "add", total, share)
            for total, share in zip(sums, shares, strict=True)
        ]
        elements = [tape.cotangent_of(parameters[self.first + self.count + k]) for k in self.items]
        return builder.finish((*carries, *new, *elements))


def _live_carries(activity: Activity, parts: dict[int, int], first: int, count: int) -> list[int]:
    """The carries that have a cotangent at some step."""
    outputs = [k for k in parts if k >= count]
    live = {k for k in parts if k < count}
    while True:
        reached = activity.reached((*live, *outputs))
        more = live | {k - first for k in reached if first <= k < first + count}
        if more == live:
            return sorted(live)
        live = more


def _saving(node: Node, length: Size) -> Node:
    """The fold with the carries before each step, and its contractions' results, as further outputs."""
    body, captured, carries = graph_of(node), number_of(node, "captured"), number_of(node, "carries")
    before = [i for i in body.parameters[captured : captured + carries] if isinstance(body.nodes[i].type, Tensor)]
    before += contractions_in(body, captured + carries)
    augmented = replace(body, results=(*body.results, *before))
    extra = tuple(Tensor(body.nodes[i].tensor.dtype, (length, *body.nodes[i].tensor.shape)) for i in before)
    return replace(with_attributes(node, body=augmented), type=(*leaves_of(node.type), *extra))


def contractions_in(body: Graph, known: int) -> list[int]:
    """The contractions of a loop's body whose results can be stacked over the steps.

    Their sizes are those of its first `known` parameters, which are the same at every step.
    """
    types = [type for type in body.parameter_types()[:known] if isinstance(type, Tensor)]
    atoms = {atom for type in types for size in type.shape for atom in atoms_of(size)}
    return [
        index
        for index, node in enumerate(body.nodes)
        if node.op in CONTRACTIONS and atoms.issuperset(atom for size in node.tensor.shape for atom in atoms_of(size))
    ]


CONTRACTIONS = ("matmul", "conv2d")


def _without_effects(node: Node) -> Node:
    def stripped(graph: Graph) -> Graph:
        return rebuild(graph, needless=lambda builder, effect: True)

    bodies = {name: deep(value, stripped) for name, value in node.attributes if isinstance(value, Graph)}
    return with_attributes(node, **bodies)


def _count(node: Node) -> int:
    return len(leaves_of(node.type))


BACKWARD: dict[str, Callable[[Tape, int, Node, dict[int, int]], None]] = {
    "get": Tape.by_get,
    "fold": Tape.by_fold,
    "map": Tape.by_map,
    "cond": Tape.by_cond,
    "extern": Tape.by_extern,
}


def not_differentiable(what: str, span: Span | None) -> DiagnosticError:
    """FED0502: a derivative is asked of something that has none."""
    return DiagnosticError(
        Diagnostic(
            "FED0502",
            f"{what} has no derivative",
            (Label(span, "a derivative goes through here"),) if span else (),
            hint="if nothing should flow back through this, wrap it in `stop_gradient`",
        )
    )
