"""Operations made in a builder, with the types that follow from their inputs'."""

from __future__ import annotations

from fedlang.ir.graph import Builder, LeafType, Sequence, Tensor
from fedlang.types.dims import Size


def tensor_of(builder: Builder, x: int) -> Tensor:
    """The type of a value that is a tensor."""
    return builder.nodes[x].tensor


def full(builder: Builder, value: float, type: Tensor) -> int:
    """A tensor with the same value everywhere."""
    number = float(value) if "float" in type.dtype else int(value)
    scalar = builder.add("constant", (), Tensor(type.dtype), value=number)
    return broadcast(builder, scalar, type.shape, ())


def broadcast(builder: Builder, x: int, shape: tuple[Size, ...], axes: tuple[int, ...]) -> int:
    """`x` repeated to a shape; itself where it has that shape."""
    type = tensor_of(builder, x)
    if type.shape == shape:
        return x
    return builder.add("broadcast", (x,), Tensor(type.dtype, shape), axes=axes)


def unary(builder: Builder, op: str, x: int) -> int:
    """An elementwise operation of the input's type."""
    return builder.add(op, (x,), tensor_of(builder, x))


def binary(builder: Builder, op: str, x: int, y: int) -> int:
    """An elementwise operation of the inputs' type."""
    return builder.add(op, (x, y), tensor_of(builder, x))


def equal(builder: Builder, x: int, y: int) -> int:
    """Where two tensors are equal."""
    return builder.add("equal", (x, y), Tensor("bool", tensor_of(builder, x).shape))


def select(builder: Builder, condition: int, x: int, y: int) -> int:
    """`x` where the condition holds, else `y`."""
    return builder.add("select", (condition, x, y), tensor_of(builder, x))


def cast(builder: Builder, x: int, dtype: str) -> int:
    """`x` as another dtype."""
    type = tensor_of(builder, x)
    return x if type.dtype == dtype else builder.add("cast", (x,), Tensor(dtype, type.shape))


def reduce_sum(builder: Builder, x: int, axes: tuple[int, ...]) -> int:
    """The sum over axes; `x` for none."""
    type = tensor_of(builder, x)
    kept = tuple(size for axis, size in enumerate(type.shape) if axis not in axes)
    return builder.add("reduce_sum", (x,), Tensor(type.dtype, kept), axes=axes) if axes else x


def reshape(builder: Builder, x: int, shape: tuple[Size, ...]) -> int:
    """`x` in another shape."""
    type = tensor_of(builder, x)
    return x if type.shape == shape else builder.add("reshape", (x,), Tensor(type.dtype, shape))


def matmul(builder: Builder, a: int, b: int, *, transpose_a: bool, transpose_b: bool, type: Tensor) -> int:
    """A product of matrices, of the type given."""
    return builder.add("matmul", (a, b), type, transpose_a=transpose_a, transpose_b=transpose_b)


def stacked(leaf: LeafType) -> Tensor:
    """The tensor that holds a leaf's values: itself, or a sequence's elements stacked."""
    if isinstance(leaf, Tensor):
        return leaf
    assert isinstance(leaf, Sequence), "a leaf is a tensor or a sequence"
    return Tensor(leaf.element.dtype, (leaf.length, *leaf.element.shape))
