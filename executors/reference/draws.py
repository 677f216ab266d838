"""Random operations: the definitions of `fedlang.run.random`. A key with axes of its own gives one draw for each."""

from __future__ import annotations

from fedlang.ir.graph import Node
from fedlang.run.random import random_at, random_bits, random_normal, random_permutation, random_uniform
from fedlang.source import Span

from .kernel import Compile, Kernel, Maker, plain, shape_of


def _bits(node: Node, compile: Compile, span: Span | None) -> Kernel:
    shape = shape_of(node.tensor)
    return lambda frame, key: random_bits(key, shape(frame)[key.ndim - 1 :])


def _uniform(node: Node, compile: Compile, span: Span | None) -> Kernel:
    shape, dtype = shape_of(node.tensor), node.tensor.dtype
    return lambda frame, key: random_uniform(key, shape(frame)[key.ndim - 1 :], dtype)


def _normal(node: Node, compile: Compile, span: Span | None) -> Kernel:
    shape, dtype = shape_of(node.tensor), node.tensor.dtype
    return lambda frame, key: random_normal(key, shape(frame)[key.ndim - 1 :], dtype)


def _permutation(node: Node, compile: Compile, span: Span | None) -> Kernel:
    shape = shape_of(node.tensor)
    return lambda frame, key: random_permutation(key, shape(frame)[-1])


KERNELS: dict[str, Maker] = {
    "random_at": plain(random_at),
    "random_bits": _bits,
    "random_uniform": _uniform,
    "random_normal": _normal,
    "random_permutation": _permutation,
}
