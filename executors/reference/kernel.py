"""What a kernel is: the NumPy meaning of one node.

A kernel is called with a `Frame` (the values of the symbolic sizes, and where effects go) and the values of the
node's inputs. A `Maker` makes the kernel of a node once, when a graph is planned; it gets a `Compile` for the graphs
in attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import Graph, Node, Tensor
from fedlang.run.executor import Sink
from fedlang.run.sequences import LeafValue
from fedlang.run.values import numpy_dtype
from fedlang.source import Span
from fedlang.types.dims import Atom, Size, evaluate

Numbers: TypeAlias = NDArray[Any]


@dataclass(slots=True)
class Frame:
    """One run of one graph: the sizes known so far, and the sink of its effects."""

    sizes: dict[Atom, int]
    sink: Sink

    def size(self, size: Size) -> int:
        """The number a size is here. `ValueError` where no parameter or result says."""
        if isinstance(size, int):
            return size
        atom = size.atom
        if atom is not None and atom in self.sizes:
            return self.sizes[atom]
        try:
            return evaluate(size, self.sizes)
        except KeyError:
            raise ValueError(f"the size {size} is not known here") from None

    def is_known(self, size: Size) -> bool:
        """Whether `size` would find a number."""
        try:
            self.size(size)
        except ValueError:
            return False
        return True


Kernel: TypeAlias = Callable[..., Any]
Body: TypeAlias = Callable[[Frame, Sequence[LeafValue]], list[LeafValue]]
Compile: TypeAlias = Callable[[Graph], Body]
Maker: TypeAlias = Callable[[Node, Compile, Span | None], Kernel]
Shape: TypeAlias = Callable[[Frame], tuple[int, ...]]


def plain(function: Callable[..., Any]) -> Maker:
    """The maker of a kernel that needs its inputs and nothing else."""

    def kernel(frame: Frame, *inputs: Any) -> Any:
        return function(*inputs)

    return lambda node, compile, span: kernel


def attributes_of(node: Node) -> dict[str, Any]:
    """A node's attributes by name."""
    return dict(node.attributes)


def shape_of(tensor: Tensor) -> Shape:
    """The array shape of a tensor type: sizes with their values, and the two words of keys."""
    words = (2,) if tensor.dtype == "Key" else ()
    if all(isinstance(size, int) for size in tensor.shape):
        static = (*(int(str(size)) for size in tensor.shape), *words)
        return lambda frame: static
    return lambda frame: (*(frame.size(size) for size in tensor.shape), *words)


HALVES = frozenset({numpy_dtype("float16"), numpy_dtype("bfloat16")})


def in_single(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function computed in float32 and rounded once, where its first input is float16 or bfloat16."""

    def widened(x: Numbers, *rest: Numbers, **options: Any) -> Any:
        if x.dtype not in HALVES:
            return function(x, *rest, **options)
        wide = function(np.asarray(x, np.float32), *(_widen(each) for each in rest), **options)
        return np.asarray(wide).astype(x.dtype)

    return widened


def _widen(x: Numbers) -> Numbers:
    return np.asarray(x, np.float32) if x.dtype in HALVES else x
