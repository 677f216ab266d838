"""What a graph costs: how often each kind of operation is called, how much it computes and how much memory it moves.

In: a local graph, or the batched one, and how many clients a block has. Out: `Load`s, and with the figures of a machine
(`calibration.py`) seconds. Sizes that only data tell are taken for `UNKNOWN`. Work of the loop over a client's
batches is counted for one step, everything else once.

An operation takes the time of a call, and then that of its arithmetic or of its memory, whichever is longer. What
memory gives depends on how much of it the loop goes over at each step: a client's own weights stay near the processor
when clients run one by one, and leave it when many are vectorised. That, and calls, are what the strategies differ in.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from fedlang.ir.graph import Graph, LeafType, Node, Tensor
from fedlang.ir.operations import operation_of
from fedlang.passes.batch import Batched
from fedlang.types.dims import Atom, Quotient, Size, atoms_of, substitute
from fedlang.types.dtypes import BYTES, FLOATS

from ..tensorflow.convolution import of_each_client, tiling_of, window_of
from ..tensorflow.patches import Window
from ..tensorflow.structural import stride_options
from ..tensorflow.together import operations_in, used_results
from .figures import Figures

PRODUCT = 11.0  # what a product in a function from Python takes beside its arithmetic, in calls
UNKNOWN = 16  # what a size that only data tell is taken for
STEPS = 4  # what the number of steps of a loop inside another is taken for
AGAIN = 9.0  # what a step of such a loop takes beside its operations, in calls
COLUMNS = 16  # columns of a product are computed by so many, at best
LARGE = 1024  # numbers of a client from which they are copied only where some clients have no step left

FREE = ("parameter", "constant", "get", "size", "broadcast", "iota", "check", "print", "probe", "stop_gradient")
FREE_GROUPS = ("sequence", "string")
HARD = ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "softplus", "erf", "power", "softmax")
HARD_TOO = ("log_softmax", "sparse_softmax_cross_entropy", "random_uniform", "random_normal", "random_bits")
SLOW = {"max_pool_gradient": 4.0, "average_pool_gradient": 4.0, "max_pool": 2.0, "sort": 16.0, "arg_sort": 16.0}
"""Operations that go over their memory more often than once."""

CONVOLUTIONS = ("conv2d", "conv2d_input", "conv2d_kernel")
CONVOLUTION = 5.0  # calls that a convolution takes beside its arithmetic, as products count them
CHANNELS, CALIBRATED = 3.4, 8
"""A convolution's channels: the number at which its arithmetic takes twice as long, that for which it is measured."""
BY_PATCHES = {"conv2d": (4.0, 10.0), "conv2d_kernel": (2.0, 6.0)}
"""Calls that those take which are products of patches, and how often they go over the patches. The first lays them
down for both."""


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of operation. `looped`: counted for one step of the loop over a client's batches."""

    op: str
    looped: bool
    calls: float = 0.0
    products: float = 0.0  # multiplications and additions in matrix products
    convolved: float = 0.0  # those in convolutions
    hard: float = 0.0  # elements of exponentials and the like
    moved: float = 0.0  # bytes read and written

    def plus(self, other: Load) -> Load:
        """Both together."""
        return Load(
            self.op,
            self.looped,
            self.calls + other.calls,
            self.products + other.products,
            self.convolved + other.convolved,
            self.hard + other.hard,
            self.moved + other.moved,
        )

    def times(self, count: float) -> Load:
        """`count` times the load."""
        numbers = (self.calls, self.products, self.convolved, self.hard, self.moved)
        return Load(self.op, self.looped, *(count * number for number in numbers))

    def seconds(self, figures: Figures, touched: float) -> float:
        """How long it takes, where a step goes over `touched` bytes."""
        call = figures.product_call if self.op == "matmul" or self.op in CONVOLUTIONS else figures.call
        arithmetic = self.products / figures.product + self.convolved / figures.convolution + self.hard / figures.hard
        return self.calls * call + max(arithmetic, self.moved / figures.bandwidth(touched))


@dataclass(frozen=True, slots=True)
class Cost:
    """A program's loads, by operation; the bytes that one step goes over, and those of the results."""

    loads: tuple[Load, ...]
    touched: float
    results: float

    def seconds(self, figures: Figures, *, looped: bool) -> float:
        """Of one step of the loop, or of everything around it."""
        own = sum(load.seconds(figures, self.touched) for load in self.loads if load.looped == looped)
        return own + figures.step if looped else own

    def by_operation(self, figures: Figures, steps: float, times: float) -> dict[str, float]:
        """Seconds by operation, for so many steps, and so many times what is around them."""
        found: dict[str, float] = {}
        for load in self.loads:
            seconds = load.seconds(figures, self.touched) * (steps if load.looped else times)
            found[load.op] = found.get(load.op, 0.0) + seconds
        return found


def cost_of(graph: Graph, *, clients: Atom | None = None, block: int = 1) -> Cost:
    """The cost of a graph: a client's own, or the batched one for blocks of `block` clients."""
    sizes = _Sizes(clients, block)
    found: dict[tuple[str, bool], Load] = {}
    for load in sizes.loads(graph, looped=False):
        known = found.get((load.op, load.looped))
        found[load.op, load.looped] = load if known is None else known.plus(load)
    results = sum(sizes.bytes(type) for type in graph.result_types())
    return Cost(tuple(found.values()), 3 * sizes.carried(graph), results)


def batched_cost(batched: Batched, block: int) -> Cost:
    """The cost of a batched graph for a block of clients."""
    return cost_of(batched.graph, clients=batched.clients, block=block)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Sizes as numbers."""

    clients: Atom | None
    block: int

    def number(self, size: Size) -> int:
        """A size's number."""
        if isinstance(size, int):
            return size
        found = substitute(size, lambda atom: None if isinstance(atom, Quotient) else self._atom(atom))
        return max(found, 0) if isinstance(found, int) else UNKNOWN

    def _atom(self, atom: Atom) -> int:
        return self.block if atom == self.clients else UNKNOWN

    def count(self, type: object) -> int:
        """How many elements a tensor has."""
        return prod(self.number(size) for size in type.shape) if isinstance(type, Tensor) else 0

    def bytes(self, type: object) -> float:
        """A tensor's bytes."""
        return self.count(type) * BYTES.get(type.dtype, 8) if isinstance(type, Tensor) else 0.0

    def carried(self, graph: Graph) -> float:
        """The bytes that the largest loop of a graph carries from step to step and changes."""
        most = 0.0
        for node in graph.nodes:
            if node.op == "fold":
                body, carries = dict(node.attributes)["body"], dict(node.attributes)["carries"]
                assert isinstance(body, Graph)
                assert isinstance(carries, int)
                most = max(most, sum(self.bytes(type) for type in body.result_types()[:carries]), self.carried(body))
        return most

    def loads(self, graph: Graph, *, looped: bool) -> Iterator[Load]:
        """The loads of all nodes, at every depth."""
        for node in graph.nodes:
            if node.op in ("fold", "map"):
                yield from self._loop(graph, node, looped)
            elif node.op == "cond":
                yield from (load for body in node.bodies for load in self.loads(body, looped=looped))
            elif operation_of(node.op).group == "extern":
                yield self._extern(graph, node, looped)
            elif node.op not in FREE and operation_of(node.op).group not in FREE_GROUPS:
                yield self._load(graph, node, looped)

    def _loop(self, graph: Graph, node: Node, looped: bool) -> Iterator[Load]:
        (body,) = node.bodies
        first = dict(node.attributes)["captured"]
        assert isinstance(first, int)
        carries = dict(node.attributes).get("carries", 0)
        assert isinstance(carries, int)
        over = graph.nodes[node.inputs[first + carries]].leaf
        length = over.shape[0] if isinstance(over, Tensor) else over.length
        if self.clients is not None and self._is_known(length) and (found := of_each_client(node)) is not None:
            images = self.number(length) * self.number(body.nodes[0].tensor.shape[0])
            yield self._by_patches(*found, images=images, looped=looped)
            return
        if not looped and not self._is_known(length):
            yield from self.loads(body, looped=True)
            return
        steps = self.number(length) if self._is_known(length) else STEPS
        yield Load(node.op, looped, calls=AGAIN * steps)
        yield from (load.times(steps) for load in self.loads(body, looped=looped))

    def _is_known(self, size: Size) -> bool:
        return isinstance(size, int) or set(atoms_of(size)) == {self.clients}

    def _load(self, graph: Graph, node: Node, looped: bool) -> Load:
        inputs = [graph.nodes[i] for i in node.inputs]
        results = node.type if isinstance(node.type, tuple) else (node.type,)
        load = Load(node.op, looped, 1.0, moved=sum(self._read(each, graph) for each in inputs) + self._sum(results))
        if node.op == "matmul":
            inner = inputs[0].tensor.shape[-2 if dict(node.attributes)["transpose_a"] else -1]
            columns = -(-self.number(node.tensor.shape[-1]) // COLUMNS) * COLUMNS
            rows = prod(map(self.number, node.tensor.shape[:-1]))
            return replace(load, products=2.0 * rows * columns * self.number(inner))
        if node.op == "reshape":
            return replace(load, moved=0.0)
        if node.op == "select" and self.clients is not None and self.count(node.tensor) >= LARGE * self.block:
            return replace(load, moved=0.0)
        if node.op in CONVOLUTIONS:
            return self._convolution(node, inputs, load)
        if operation_of(node.op).group == "gather" and inputs:
            return replace(load, moved=2 * self._sum(results))
        if node.op in HARD or node.op in HARD_TOO:
            return replace(load, hard=float(max(self.count(each) for each in (node.tensor, *map(_type, inputs)))))
        return replace(load, moved=load.moved * SLOW.get(node.op, 1.0))

    def _extern(self, graph: Graph, node: Node, looped: bool) -> Load:
        """A function from Python, by its TensorFlow operations. Its matrices are taken to meet every row once."""
        index = next(k for k, each in enumerate(graph.nodes) if each is node)
        small, products = operations_in(node, used_results(graph, index))
        given = [graph.nodes[i].leaf for i in node.inputs]
        weights = [each for each in given if isinstance(each, Tensor) and self._is_matrix(each)]
        passes = 2.0 if node.op == "extern_vjp" else 1.0
        return Load(
            node.op,
            looped,
            calls=small + PRODUCT * products,
            products=2.0 * passes * UNKNOWN * sum(self.count(each) for each in weights) if products else 0.0,
            moved=passes * self._sum(tuple(given)),
        )

    def _is_matrix(self, type: Tensor) -> bool:
        own = [size for size in type.shape if not self._is_chunk(size)]
        return type.dtype in FLOATS and len(own) > 1 and all(isinstance(size, int) for size in own)

    def _is_chunk(self, size: Size) -> bool:
        return not isinstance(size, int) and set(atoms_of(size)) == {self.clients}

    def _read(self, node: Node, graph: Graph) -> float:
        """The bytes read of an input; what is broadcast is read as it was."""
        while node.op == "broadcast":
            node = graph.nodes[node.inputs[0]]
        return self._sum((node.type,) if not isinstance(node.type, tuple) else node.type)

    def _sum(self, types: tuple[LeafType, ...]) -> float:
        return sum(self.bytes(type) for type in types)

    def _convolution(self, node: Node, inputs: list[Node], load: Load) -> Load:
        """Every place of the image after it meets every number of the kernel; by tiles it takes a share of that."""
        before, after, kernel = {
            "conv2d": (inputs[0], node, inputs[1]),
            "conv2d_input": (node, inputs[0], inputs[1]),
            "conv2d_kernel": (inputs[1], inputs[0], node),
        }[node.op]
        convolved = 2.0 * prod(self.number(size) for size in after.tensor.shape[:3]) * self.count(kernel.tensor)
        images, sizes = before.tensor, kernel.tensor.shape
        if node.op != "conv2d_input":
            convolved *= max(1.0, (1 + CHANNELS / max(1, self.number(sizes[2]))) / (1 + CHANNELS / CALIBRATED))
        load = replace(load, calls=CONVOLUTION, convolved=convolved)
        if self.clients is not None:
            return load
        given = images.shape, images.dtype, sizes, stride_options(node)
        if (tiling := tiling_of(*given)) is not None:
            return replace(load, convolved=convolved * tiling.share(*map(self.number, sizes[2:])))
        if node.op in BY_PATCHES and (window := window_of(*given)) is not None:
            return self._by_patches(node, window, images=self.number(images.shape[0]), looped=load.looped)
        return load

    def _by_patches(self, node: Node, window: Window, *, images: int, looped: bool) -> Load:
        """Products of so many images' patches."""
        filters, results = self.number(node.tensor.shape[-1]), float(images * prod(window.results))
        columns, (calls, times) = -(-filters // COLUMNS) * COLUMNS, BY_PATCHES[node.op]
        moved = BYTES["float32"] * results * (times * window.patch + filters)
        return Load(node.op, looped, calls, products=2.0 * results * window.patch * columns, moved=moved)


def _type(node: Node) -> object:
    return node.type
