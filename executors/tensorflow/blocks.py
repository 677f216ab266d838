"""A chunk of clients in blocks: each block is vectorised, and the loop over blocks is in the graph.

Between the two other ways: the weights of a block stay near the processor where those of a whole chunk do not, a block
runs no longer than its longest client, and blocks may run at the same time; while an operation still serves all of a
block's clients. The operations are those of the vectorised program, so a client's bits are too. How many clients a
block has may differ from chunk to chunk: one program serves all.

Clients are sorted by length inside the chunk, longest first, so that the lanes that are left over are in the shortest
block; results go back to the order in which clients came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import Tensor
from fedlang.passes.batch import Feed
from fedlang.run.executor import Chunk
from fedlang.run.sequences import Elements, LeafValue, Rows

from .calls import Traced
from .dtypes import TF_DTYPES, static_shape
from .lanes import LANES
from .layout import Layout
from .lower import evaluate
from .scope import Scope, Unsupported
from .sequential import is_free
from .start import tf
from .vectorised import VectorisedWork, arguments_of, flags_of, specs_of
from .work import Finished, Readable, finish, host, nothing

BY_COLUMN = ("rows", "counts")  # feeds whose first axis counts steps, and the second clients

# From the lengths of a chunk's clients, longest first, to the size of its blocks, a multiple of `LANES`.
BlockSize: TypeAlias = Callable[[NDArray[np.int32]], int]


@dataclass(frozen=True, slots=True, eq=False)
class BlockWork:
    """A vectorised program that runs in blocks."""

    inner: VectorisedWork
    function: Traced
    size: BlockSize

    def traces(self) -> int:
        """How often the program was traced."""
        return self.function.traces()

    def pack_shared(self, shared: Sequence[LeafValue]) -> list[Any]:
        """The shared values' tensors."""
        return self.inner.pack_shared(shared)

    def pack(self, read: Readable) -> list[Any]:
        """The clients' tensors, longest client first; the block's size, the steps of each block, and the order."""
        lengths = self._lengths(read)
        longest = lengths.max(1, initial=0)
        order = np.argsort(-longest, kind="stable")
        block = self.size(longest[order])
        feeds = self.inner.pack(read.take(order.tolist(), read.failures), lanes=block)
        return [*feeds, np.int32(block), steps_of(lengths[order], block), order]

    def _lengths(self, read: Readable) -> NDArray[np.int32]:
        """int32 [clients, groups]: how many elements each client's sequences have."""
        layout = self.inner.layout
        place = {k: n for n, k in enumerate(k for k, differs in enumerate(layout.varies) if differs)}
        places = [place[group.members[0]] for group in layout.groups]
        found = [[_length(values[k]) for k in places] for values in read.values]
        return np.array(found, np.int32).reshape(len(read.values), len(places))

    def run(self, shared: Sequence[Any], packed: Sequence[Any], read: Readable) -> Chunk:
        """A packed chunk's results. May be called from several threads at once."""
        if not read.tasks:
            return nothing(read, self.inner.batched.count)
        *feeds, order = packed
        found = [host(value) for value in self.function(*shared, *feeds)]
        if (order[1:] < order[:-1]).any():
            place = np.argsort(order)
            found = [value[place] for value in found]
        *results, flags = found
        return finish(read, Finished(tuple(results), (), np.asarray(flags, np.bool_)), self.inner.sites, ())


def _length(value: LeafValue) -> int:
    assert isinstance(value, Rows | Elements)
    return len(value)


def steps_of(lengths: NDArray[np.int32], block: int) -> NDArray[np.int32]:
    """int32 [groups, blocks]: the longest of each block; `lengths` is [clients, groups]."""
    blocks = -(-len(lengths) // block)
    padded = np.zeros((blocks * block, lengths.shape[1]), np.int32)
    padded[: len(lengths)] = lengths
    return np.ascontiguousarray(padded.reshape(blocks, block, -1).max(1).T, np.int32)


def compile_blocks(inner: VectorisedWork, size: BlockSize, *, parallel: int, label: str = "work") -> BlockWork:
    """The program in blocks. `Unsupported` where results of different blocks may differ in shape."""
    batched, layout = inner.batched, inner.layout
    types = batched.graph.result_types()[: batched.count]
    if any(not isinstance(type, Tensor) or is_free(Tensor(type.dtype, type.shape[1:])) for type in types):
        raise Unsupported("results whose sizes differ between blocks")
    shapes = [(TF_DTYPES[t.dtype], static_shape(t.shape, t.dtype)) for t in types if isinstance(t, Tensor)]
    shapes.append((tf.bool, tf.TensorShape([None, len(inner.sites)])))

    def run(*given: Any) -> list[Any]:
        *feeds, block, steps = given
        arguments = arguments_of(batched, layout, feeds)

        def body(number: Any, kept: list[Any]) -> tuple[Any, list[Any]]:
            scope = Scope(flag_rank=1)
            own = [_part(layout, *each, number, block, steps) for each in zip(batched.feeds, arguments, strict=True)]
            results = evaluate(batched.graph, own, scope)[: batched.count]
            values = [*results, flags_of(scope, inner.sites, block)]
            return number + 1, [one.write(number, value) for one, value in zip(kept, values, strict=True)]

        count = tf.shape(steps)[1]
        lists = [tf.TensorArray(d, size=count, element_shape=shape, infer_shape=False) for d, shape in shapes]
        with tf.name_scope(label):
            start = (tf.constant(0), lists)
            _, lists = tf.while_loop(lambda k, _: k < count, body, start, parallel_iterations=parallel)
        return [one.concat() for one in lists]

    own_specs = [tf.TensorSpec([], tf.int32), tf.TensorSpec([len(layout.groups), None], tf.int32)]
    function = Traced(run, [*specs_of(batched, layout), *own_specs])
    return BlockWork(inner, function, size)


def _part(layout: Layout, feed: Feed, value: Any, number: Any, block: Any, steps: Any) -> Any:
    """A block's share of an argument."""
    if feed.kind in ("shared", "store"):
        return value
    lanes = slice(number * block, (number + 1) * block)
    if feed.kind not in BY_COLUMN:
        return value[lanes]
    (group,) = (k for k, group in enumerate(layout.groups) if feed.parameter in group.members)
    return value[: steps[group, number], lanes]


def whole(lengths: NDArray[np.int32]) -> int:
    """One block for all clients."""
    return -(-len(lengths) // LANES) * LANES
