"""Attributes of nodes, read with their types."""

from __future__ import annotations

from fedlang.ir.graph import Graph, Node
from fedlang.types.dims import Dim, Size


def integer(node: Node, name: str) -> int:
    """An attribute that is an integer."""
    value = node.attribute(name)
    assert isinstance(value, int), name
    return value


def flag(node: Node, name: str) -> bool:
    """An attribute that is a bool; false where it is left out."""
    return bool(dict(node.attributes).get(name, False))


def integers(node: Node, name: str) -> tuple[int, ...]:
    """An attribute that is a tuple of integers."""
    values = node.attribute(name)
    assert isinstance(values, tuple), name
    return tuple(value for value in values if isinstance(value, int))


def pair(node: Node, name: str) -> tuple[int, int]:
    """An attribute that is a height and a width, or one number for both."""
    value = node.attribute(name)
    if isinstance(value, int):
        return value, value
    height, width = integers(node, name)
    return height, width


def size(node: Node, name: str) -> Size:
    """An attribute that is a size."""
    value = node.attribute(name)
    assert isinstance(value, int | Dim), name
    return value


def text(node: Node, name: str) -> str:
    """An attribute that is text; empty where it is left out."""
    value = dict(node.attributes).get(name, "")
    assert isinstance(value, str), name
    return value


def graph(node: Node, name: str) -> Graph:
    """An attribute that is a graph."""
    value = node.attribute(name)
    assert isinstance(value, Graph), name
    return value
