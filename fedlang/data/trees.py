"""Records and tuples of leaves: the shape in which examples and sequences are handed about.

A tree is a leaf, a dict of trees by field name, or a tuple of trees. A path names a leaf as the language does: `.x`,
`.1.y`; it is empty for a tree that is one leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar, cast

import numpy as np

from fedlang.run.sequences import Array, LeafValue

T = TypeVar("T")
U = TypeVar("U")

Tree: TypeAlias = T | dict[str, "Tree[T]"] | tuple["Tree[T]", ...]
Examples: TypeAlias = "Tree[Array]"
Sequences: TypeAlias = "Tree[LeafValue]"


def map_leaves(function: Callable[[T], U], tree: Tree[T]) -> Tree[U]:
    """The tree with each leaf replaced."""
    if isinstance(tree, dict):
        return {name: map_leaves(function, part) for name, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map_leaves(function, part) for part in tree)
    return function(tree)


def named_leaves(tree: Tree[T], path: str = "") -> Iterator[tuple[str, T]]:
    """Each leaf with its path, in order."""
    if isinstance(tree, dict):
        parts = [(name, part) for name, part in tree.items()]
    elif isinstance(tree, tuple):
        parts = [(str(index), part) for index, part in enumerate(tree)]
    else:
        yield path, tree
        return
    for name, part in parts:
        yield from named_leaves(part, f"{path}.{name}")


def marks_of(tree: Tree[T]) -> object:
    """What tells a tree of these very leaves, under these names, from all others, as long as the leaves are there."""
    if isinstance(tree, dict):
        return [*tree], [id(part) if isinstance(part, np.ndarray) else marks_of(part) for part in tree.values()]
    return [*map(marks_of, tree)] if isinstance(tree, tuple) else id(tree)


def first_leaf(tree: Tree[T]) -> T:
    """Any leaf: the first."""
    while isinstance(tree, (dict, tuple)):
        tree = next(iter(tree.values())) if isinstance(tree, dict) else tree[0]
    return tree


def count_examples(examples: Examples) -> int:
    """How many examples there are: the first axis of any leaf."""
    return len(first_leaf(examples))


def join_trees(function: Callable[[list[T]], U], trees: list[Tree[T]]) -> Tree[U]:
    """One tree from several of equal structure: the function gets the leaves that share a path."""
    first = trees[0]
    if isinstance(first, dict):
        records = cast("list[dict[str, Tree[T]]]", trees)
        return {name: join_trees(function, [record[name] for record in records]) for name in first}
    if isinstance(first, tuple):
        tuples = cast("list[tuple[Tree[T], ...]]", trees)
        return tuple(join_trees(function, list(parts)) for parts in zip(*tuples, strict=True))
    return function(cast("list[T]", trees))


def structure_of(tree: Tree[T]) -> tuple[str, ...]:
    """The paths of the leaves: two trees can be joined when these are equal as sets."""
    return tuple(path for path, _ in named_leaves(tree))
