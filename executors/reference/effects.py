"""Checks, prints, probes, and calls of Python functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fedlang.ir.graph import LeafType, Node, Tensor
from fedlang.run.calling import call_function
from fedlang.run.errors import check_failed, operation_failed
from fedlang.run.externs import find_extern, find_vjp, is_registered
from fedlang.source import Span

from .kernel import Compile, Frame, Kernel, Maker, Numbers, attributes_of


def _check(node: Node, compile: Compile, span: Span | None) -> Kernel:
    attributes = attributes_of(node)
    message, operation = str(attributes.get("message", "")), attributes.get("operation")

    def kernel(frame: Frame, condition: Numbers) -> tuple[()]:
        if not np.all(condition):
            raise check_failed(message, span) if operation is None else operation_failed(str(operation), message, span)
        return ()

    return kernel


def _print(node: Node, compile: Compile, span: Span | None) -> Kernel:
    """Each `{}` of the format becomes one value; values beyond them follow after spaces."""
    pieces = str(attributes_of(node).get("format", "")).split("{}")

    def kernel(frame: Frame, *values: Any) -> tuple[()]:
        frame.sink.print(fill(pieces, [show(value) for value in values]))
        return ()

    return kernel


def fill(pieces: list[str], values: list[str]) -> str:
    """The pieces of a format with values between them."""
    slots = len(pieces) - 1
    between = values[:slots] + ["{}"] * (slots - len(values))
    text = pieces[0] + "".join(value + piece for value, piece in zip(between, pieces[1:], strict=True))
    return " ".join([text, *values[slots:]]) if text else " ".join(values[slots:])


def show(value: Any) -> str:
    """A value as people read it."""
    return str(value.tolist() if isinstance(value, np.ndarray) and value.ndim == 0 else value)


def _probe(node: Node, compile: Compile, span: Span | None) -> Kernel:
    name = str(attributes_of(node)["name"])

    def kernel(frame: Frame, value: Any) -> tuple[()]:
        frame.sink.probe(name, value)
        return ()

    return kernel


def _extern(node: Node, compile: Compile, span: Span | None) -> Kernel:
    handle = str(attributes_of(node)["handle"])
    return _calling(node, handle, span, lambda: find_extern(handle, span).call)


def _extern_vjp(node: Node, compile: Compile, span: Span | None) -> Kernel:
    handle = str(attributes_of(node)["handle"])
    if is_registered(handle):
        find_vjp(handle, span)  # known before anything runs
    return _calling(node, handle, span, lambda: find_vjp(handle, span).vjp)


def _calling(node: Node, handle: str, span: Span | None, find: Callable[[], Callable[..., Any]]) -> Kernel:
    """Calls the function that is registered when the program runs."""
    leaves = node.type if isinstance(node.type, tuple) else (node.leaf,)

    def sizes(frame: Frame, leaf: LeafType) -> tuple[int | None, ...]:
        shape = leaf.shape if isinstance(leaf, Tensor) else ()
        return tuple(frame.size(size) if frame.is_known(size) else None for size in shape)

    def kernel(frame: Frame, *arguments: Any) -> Any:
        wanted = tuple((leaf, sizes(frame, leaf)) for leaf in leaves)
        results = call_function(handle, find(), arguments, wanted, span)
        return results if isinstance(node.type, tuple) else results[0]

    return kernel


KERNELS: dict[str, Maker] = {
    "check": _check,
    "print": _print,
    "probe": _probe,
    "extern": _extern,
    "extern_vjp": _extern_vjp,
}
