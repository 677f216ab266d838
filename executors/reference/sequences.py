"""Operations on sequences. Taking, repeating, shuffling and filtering are choices of elements by number."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fedlang.ir.graph import Node, Sequence
from fedlang.run.random import random_permutation
from fedlang.run.sequences import Elements, Rows, SequenceValue
from fedlang.run.values import select_elements, sequence_of, stack_elements
from fedlang.source import Span

from .kernel import Compile, Frame, Kernel, Maker, Numbers, attributes_of, plain


def batch(sequence: SequenceValue, size: Numbers) -> SequenceValue:
    """Stacks of `size` elements; the last has what is left."""
    step = int(size)
    if step < 1:
        raise ValueError(f"a batch of {step} elements")
    count = len(sequence)
    splits = np.minimum(np.arange(-(-count // step) + 1, dtype=np.int64) * step, count)
    if isinstance(sequence, Rows) and sequence.splits is None:
        return Rows(sequence.rows, splits)
    if len({element.shape for element in sequence}) <= 1:
        return Rows(stack_elements(sequence), splits)
    parts = (Elements(tuple(sequence[k] for k in range(a, b))) for a, b in pairwise(splits.tolist()))
    return Elements(tuple(map(stack_elements, parts)))


def _chosen(sequence: SequenceValue, start: int, stop: int) -> SequenceValue:
    return select_elements(sequence, np.arange(start, max(start, stop), dtype=np.int64))


def take(sequence: SequenceValue, n: Numbers) -> SequenceValue:
    """The first `n` elements; all, where there are fewer."""
    return _chosen(sequence, 0, min(int(n), len(sequence)))


def skip(sequence: SequenceValue, n: Numbers) -> SequenceValue:
    """All but the first `n` elements."""
    return _chosen(sequence, min(max(int(n), 0), len(sequence)), len(sequence))


def repeat(sequence: SequenceValue, n: Numbers) -> SequenceValue:
    """The elements `n` times over."""
    return select_elements(sequence, np.tile(np.arange(len(sequence), dtype=np.int64), max(int(n), 0)))


def shuffle(sequence: SequenceValue, key: Numbers) -> SequenceValue:
    """In the order of the key's permutation."""
    return select_elements(sequence, random_permutation(key, len(sequence)).astype(np.int64))


def keep(sequence: SequenceValue, kept: Numbers) -> SequenceValue:
    """The elements for which `kept` holds."""
    if kept.shape != (len(sequence),):
        raise ValueError(f"{len(sequence)} elements, and {len(kept)} to say which stay")
    return select_elements(sequence, np.flatnonzero(kept).astype(np.int64))


def _map(node: Node, compile: Compile, span: Span | None) -> Kernel:
    given = attributes_of(node)
    captured, body, kind = given["captured"], compile(given["body"]), node.leaf
    assert isinstance(kind, Sequence), "map gives a sequence"

    def kernel(frame: Frame, *inputs: Any) -> SequenceValue:
        outer, sequences = inputs[:captured], inputs[captured:]
        items = [body(frame, (*outer, *elements))[0] for elements in together(sequences)]
        return sequence_of([np.asarray(item) for item in items], kind.element.dtype, kind.element.shape)

    return kernel


def together(sequences: tuple[Any, ...]) -> Any:
    """The elements of all, side by side. `ValueError` where the lengths differ."""
    lengths = [len(each) for each in sequences]
    if len(set(lengths)) > 1:
        raise ValueError(f"sequences of {' and '.join(str(each) for each in lengths)} elements go together")
    return zip(*sequences, strict=True)


KERNELS: dict[str, Maker] = {
    "batch": plain(batch),
    "take": plain(take),
    "skip": plain(skip),
    "repeat": plain(repeat),
    "shuffle": plain(shuffle),
    "filter": plain(keep),
    "stack": plain(stack_elements),
    "unstack": plain(Rows),
    "count_to": plain(lambda n: Rows(np.arange(max(int(n), 0), dtype=np.int32))),
    "map": _map,
}
