"""Loop distribution: matrix products that no step of a loop waits for, computed for all steps at once.

In: any graph. Out: the same values but for rounding, of the size that a product's own rounding has. A loop over the
first axis of tensors (a recurrent layer goes over time) has products of three kinds that need not be in it:

    before   an element times a captured matrix: `x[t] W` for all `t` is one product of the tensor
    after    the same of what the loop computes, where only its results have it
    sums     a carry that does nothing but add up products: `sum_t a[t]^T b[t]` is one product of all rows, and the
             loop gives `a` and `b`. A gradient by a captured matrix is such a sum

One product of many rows takes a fraction of the time of many of few, and a sum no longer goes over a matrix as large
as the weights in each step (Appleyard et al., "Optimizing performance of recurrent neural networks on GPUs", 2016, do
so by hand). Memory bounds it: products before and after are results of the loop as they are, and what a sum needs is
kept of each step only where that is no more than what the loop goes over.

What the loop goes over must be of one length by its types: a loop is also what finds that lengths differ. Rows that
are put one behind the other have a fixed width: others may be ragged (`batch_reshape.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from fedlang.ir.graph import Builder, Graph, Node, Tensor
from fedlang.ir.sizes import mentioned_atoms, shown_atoms
from fedlang.types.dims import Atom, Size, multiply

from .rewrite import Replacement, deep, graph_of, keep, number_of, rebuild, with_attributes
from .scale import FLOATS


def distribute_loops(graph: Graph) -> Graph:
    """The graph with products moved out of loops over tensors, at every depth."""
    return deep(graph, lambda each: rebuild(each, _distributed) if _has_loop(each) else each)


def _has_loop(graph: Graph) -> bool:
    return any(node.op == "fold" for node in graph.nodes)


def _distributed(builder: Builder, node: Node) -> Replacement:
    if node.op != "fold" or node.has_effects:
        return keep(builder, node)
    loop = _Loop(graph_of(node), number_of(node, "captured"), number_of(node, "carries"))
    over = [builder.nodes[i].type for i in node.inputs[loop.captured + loop.carries :]]
    lengths = {type.shape[0] for type in over if isinstance(type, Tensor)}
    if len(lengths) != 1 or not all(isinstance(type, Tensor) for type in over):
        return keep(builder, node)
    moves = _moves(loop)
    return _Outside(builder, node, loop, moves).results() if moves.are_any else keep(builder, node)


@dataclass(slots=True)
class _Loop:
    """A loop's body: its parameters by kind, its results that are stacked, and how often each node is read."""

    body: Graph
    captured: int
    carries: int
    fixed: tuple[int, ...] = field(init=False)
    carried: tuple[int, ...] = field(init=False)
    elements: tuple[int, ...] = field(init=False)
    outputs: tuple[int, ...] = field(init=False)
    reads: Counter[int] = field(init=False)

    def __post_init__(self) -> None:
        parameters, first = self.body.parameters, self.captured + self.carries
        self.fixed, self.carried = parameters[: self.captured], parameters[self.captured : first]
        self.elements, self.outputs = parameters[first:], self.body.results[self.carries :]
        self.reads = Counter(i for node in self.body.nodes for i in node.inputs)
        self.reads.update(self.body.results)

    def node(self, index: int) -> Node:
        return self.body.nodes[index]

    def is_product(self, index: int) -> bool:
        """Whether a node is a product of two matrices of floats."""
        node = self.node(index)
        return node.op == "matmul" and node.tensor.dtype in FLOATS and len(node.tensor.shape) == 2

    def is_by_fixed(self, index: int) -> bool:
        """Whether a node is a product of rows with a captured matrix."""
        if not self.is_product(index) or self.node(index).attribute("transpose_a"):
            return False
        rows, matrix = self.node(index).inputs
        return matrix in self.fixed and rows not in self.fixed and _is_fixed(self.node(matrix).tensor.shape)

    def numbers(self, indices: Iterable[int]) -> Counter[tuple[Atom, ...]]:
        """How many numbers these nodes have together: a polynomial's coefficients by products of sizes."""
        found: Counter[tuple[Atom, ...]] = Counter()
        for index in indices:
            count: Size = 1
            for size in self.node(index).tensor.shape:
                count = multiply(count, size)
            found.update({(): count} if isinstance(count, int) else dict(count.terms))
        return found

    def tells(self, without: Iterable[int]) -> bool:
        """Whether parameters tell all sizes in the body when those of some carries are gone."""
        gone = {self.carried[k] for k in without} | {self.body.results[k] for k in without}
        staying = [i for i in self.body.parameters if i not in gone]
        known = frozenset(atom for i in staying for atom in shown_atoms(self.node(i).type))
        return all(mentioned_atoms(node) <= known for k, node in enumerate(self.body.nodes) if k not in gone)


def _is_fixed(sizes: Iterable[Size]) -> bool:
    return all(isinstance(size, int) for size in sizes)


@dataclass(frozen=True, slots=True)
class _Moves:
    """What leaves a loop, by nodes of its body. `sums` has the terms of carries; `kept` is stacked for them."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    sums: dict[int, tuple[int, ...]] = field(default_factory=dict)
    kept: tuple[int, ...] = ()

    @property
    def are_any(self) -> bool:
        return bool(self.before or self.after or self.sums)


def _moves(loop: _Loop) -> _Moves:
    outputs = tuple(dict.fromkeys(loop.outputs))
    before = tuple(i for i in outputs if loop.is_by_fixed(i) and loop.node(i).inputs[0] in loop.elements)
    sums = {k: terms for k in range(loop.carries) if (terms := _terms(loop, k))}
    factors = (factor for terms in sums.values() for term in terms for factor in loop.node(term).inputs)
    kept = tuple(i for i in dict.fromkeys(factors) if i not in (*loop.elements, *outputs))
    if not loop.numbers(kept) <= loop.numbers(loop.elements) or not loop.tells(without=sums):
        sums, kept = {}, ()
    at_hand = (*loop.elements, *outputs, *kept)
    after = tuple(
        i
        for i in outputs
        if loop.is_by_fixed(i)
        and i not in before
        and loop.reads[i] == loop.outputs.count(i)
        and loop.node(i).inputs[0] in at_hand
    )
    return _Moves(before, after, sums, kept)


def _terms(loop: _Loop, carry: int) -> tuple[int, ...]:
    """The products and sums of rows that a carry adds up, where it does nothing else."""
    result, own = loop.body.results[carry], loop.carried[carry]
    node = loop.node(result)
    if node.op != "add" or node.inputs.count(own) != 1 or (loop.reads[own], loop.reads[result]) != (1, 1):
        return ()
    (rest,) = (i for i in node.inputs if i != own)
    terms = tuple(_added(loop, rest))
    return terms if all(_is_term(loop, term) for term in terms) else ()


def _added(loop: _Loop, index: int) -> Iterator[int]:
    node = loop.node(index)
    if node.op == "add" and loop.reads[index] == 1:
        for i in node.inputs:
            yield from _added(loop, i)
    else:
        yield index


def _is_term(loop: _Loop, index: int) -> bool:
    node = loop.node(index)
    if loop.reads[index] != 1 or any(i in loop.fixed for i in node.inputs):
        return False
    if node.op == "reduce_sum":
        return node.tensor.dtype in FLOATS
    return loop.is_product(index) and _is_fixed(node.tensor.shape)


class _Outside:
    """A loop being made anew, and around it what was moved."""

    def __init__(self, builder: Builder, node: Node, loop: _Loop, moves: _Moves) -> None:
        self.builder, self.node, self.loop, self.moves = builder, node, loop, moves
        first = loop.captured + loop.carries
        self.steps = builder.nodes[node.inputs[first]].tensor.shape[0]
        self.stacks: dict[int, int] = dict(zip(loop.elements, node.inputs[first:], strict=True))
        self.carries = [k for k in range(loop.carries) if k not in moves.sums]
        gone = {*moves.before, *moves.after, *loop.elements}
        self.outputs = [i for i in dict.fromkeys((*loop.outputs, *moves.kept)) if i not in gone]

    def results(self) -> tuple[int, ...]:
        """The results of the loop as it was."""
        loop, moves = self.loop, self.moves
        for index in moves.before:
            self.stacks[index] = self._by_fixed(index)
        found = self._loop()
        carried = dict(zip(self.carries, found, strict=False))
        self.stacks |= dict(zip(self.outputs, found[len(self.carries) :], strict=True))
        for index in moves.after:
            self.stacks[index] = self._by_fixed(index)
        for k, terms in moves.sums.items():
            carried[k] = self.node.inputs[loop.captured + k]
            for term in terms:
                carried[k] = self._add("add", (carried[k], self._sum(term)), loop.node(term).tensor)
        return (*(carried[k] for k in range(loop.carries)), *(self.stacks[i] for i in loop.outputs))

    def _add(self, op: str, inputs: tuple[int, ...], type: Tensor, **attributes: object) -> int:
        return self.builder.add(op, inputs, type, place=self.node.place, **attributes)  # type: ignore[arg-type]

    def _by_fixed(self, index: int) -> int:
        """The product of all steps' rows with a captured matrix."""
        node = self.loop.node(index)
        rows, matrix = node.inputs
        count, width = node.tensor.shape
        stack = self._rows(rows, transposed=False)
        type = Tensor(node.tensor.dtype, (multiply(self.steps, count), width))
        fixed = self.node.inputs[self.loop.fixed.index(matrix)]
        turned = node.attribute("transpose_b")
        found = self._add("matmul", (stack, fixed), type, transpose_a=False, transpose_b=turned)
        return self._add("reshape", (found,), Tensor(type.dtype, (self.steps, count, width)))

    def _rows(self, index: int, *, transposed: bool) -> int:
        """A matrix's rows, or its columns, at all steps, one behind the other."""
        stack = self.stacks[index]
        steps, *sizes = self.builder.nodes[stack].tensor.shape
        dtype = self.builder.nodes[stack].tensor.dtype
        if transposed:
            sizes = sizes[::-1]
            stack = self._add("transpose", (stack,), Tensor(dtype, (steps, *sizes)), permutation=(0, 2, 1))
        return self._add("reshape", (stack,), Tensor(dtype, (multiply(steps, sizes[0]), sizes[1])))

    def _sum(self, index: int) -> int:
        """A term, summed over all steps."""
        node = self.loop.node(index)
        if node.op == "reduce_sum":
            axes = node.attribute("axes")
            assert isinstance(axes, tuple), "axes are numbers"
            inner = tuple(axis + 1 for axis in axes if isinstance(axis, int))
            return self._add("reduce_sum", (self.stacks[node.inputs[0]],), node.tensor, axes=(0, *inner))
        a = self._rows(node.inputs[0], transposed=not node.attribute("transpose_a"))
        b = self._rows(node.inputs[1], transposed=bool(node.attribute("transpose_b")))
        return self._add("matmul", (a, b), node.tensor, transpose_a=True, transpose_b=False)

    def _loop(self) -> tuple[int, ...]:
        """The loop with what stays in it; no node where nothing does."""
        if not self.carries and not self.outputs:
            return ()
        loop, inputs = self.loop, self.node.inputs
        read = [i for i in self.moves.before if loop.reads[i] > loop.outputs.count(i)]
        carries = tuple(inputs[loop.captured + k] for k in self.carries)
        over = (*inputs[loop.captured + loop.carries :], *(self.stacks[i] for i in read))
        body = self._inside(read)
        types = body.result_types()
        stacks = [self._stacked(type) for type in types[len(carries) :] if isinstance(type, Tensor)]
        made = with_attributes(self.node, body=body, carries=len(carries))
        made = replace(made, inputs=(*inputs[: loop.captured], *carries, *over), type=(*types[: len(carries)], *stacks))
        found = self.builder.add_node(made)
        return tuple(self.builder.get(found, k) for k in range(len(types)))

    def _stacked(self, type: Tensor) -> Tensor:
        shape: tuple[Size, ...] = (self.steps, *type.shape)
        return Tensor(type.dtype, shape)

    def _inside(self, read: list[int]) -> Graph:
        """The body without what was moved; `read` are elements now."""
        loop, builder = self.loop, Builder()
        given = (*loop.fixed, *(loop.carried[k] for k in self.carries), *loop.elements, *read)
        new = {i: builder.parameter(loop.node(i).leaf) for i in given}
        left_out = {loop.body.results[k] for k in self.moves.sums} | {loop.carried[k] for k in self.moves.sums}
        for index, node in enumerate(loop.body.nodes):
            if index not in new and index not in left_out:
                builder.span = loop.body.spans[index] if loop.body.spans else None
                new[index] = builder.add_node(replace(node, inputs=tuple(new[i] for i in node.inputs)))
        carried = (loop.body.results[k] for k in self.carries)
        return builder.finish(tuple(new[i] for i in (*carried, *self.outputs)))
