"""Shape functions: the closed list of ways a result's shape may depend on a pack of sizes.

    drop(s, axis)        without that axis
    insert(s, axis, n)   with an axis of size `n` put in, so that it is axis `axis` of the result
    permute(s, p…)       axes in another order
    replace(s, axis, n)  with the size of one axis replaced
    join(s, t)           broadcast: trailing axes aligned, a known 1 stretched

Over shapes that are not known yet the function stays in the type as a `ShapeFunction`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fedlang.types.dims import Size, can_differ
from fedlang.types.types import PackItem, Shape, ShapeFunction

Argument: TypeAlias = "Shape | Size"


class ShapeError(Exception):
    """A shape function cannot be applied; the message says why, in the user's words."""


def is_known(shape: Shape) -> bool:
    """Whether the number of axes is known."""
    return not any(isinstance(item, PackItem) for item in shape)


def apply_shape_function(name: str, arguments: tuple[Argument, ...]) -> Shape:
    """The resulting shape, or a shape of one `ShapeFunction` where the arguments are not known well enough."""
    verify_arguments(name, arguments)
    shapes = [argument for argument in arguments if isinstance(argument, tuple)]
    if all(is_known(shape) for shape in shapes) and all(
        isinstance(a, int | tuple) or name != "drop" for a in arguments
    ):
        return _FUNCTIONS[name](*arguments)
    if name == "join" and len(shapes) == 2:
        return _join_partly(shapes[0], shapes[1], arguments)
    return (PackItem(ShapeFunction(name, arguments)),)


def verify_arguments(name: str, arguments: tuple[Argument, ...]) -> None:
    """Raises `ShapeError` where the arguments are not those the function takes."""
    is_shape = [isinstance(argument, tuple) for argument in arguments]
    if name == "permute":
        good = len(is_shape) > 1 and is_shape[0] and (len(is_shape) == 2 or not any(is_shape[1:]))
    else:
        good = is_shape in _TAKES[name]
    if not good:
        raise ShapeError(f"`{name}` is written {_WRITTEN[name]}")


# Which arguments are shapes.
_TAKES = {
    "drop": ([True, False],),
    "insert": ([True, False, False], [True, False]),
    "replace": ([True, False, False],),
    "join": ([True, True],),
}
_WRITTEN = {
    "drop": "`...drop(s, axis)`",
    "insert": "`...insert(s, axis, n)`",
    "permute": "`...permute(s, 1, 0)`",
    "replace": "`...replace(s, axis, n)`",
    "join": "`...join(s, t)`",
}


def _join_partly(a: Shape, b: Shape, arguments: tuple[Argument, ...]) -> Shape:
    """Joins with packs: equal shapes join to themselves, an empty one to the other."""
    if a == b or not b:
        return a
    if not a:
        return b
    return (PackItem(ShapeFunction("join", arguments)),)


def axis_of(shape: Shape, axis: Argument, extra: int = 0) -> int:
    """The axis as a position from the left; negative counts from the end."""
    rank = len(shape) + extra
    if not isinstance(axis, int):
        raise ShapeError("the axis must be known when compiling")
    if not -rank <= axis < rank:
        raise ShapeError(f"there is no axis {axis} in {rank} axes")
    return axis % rank


def _drop(shape: Argument, axis: Argument) -> Shape:
    assert isinstance(shape, tuple)
    at = axis_of(shape, axis)
    return shape[:at] + shape[at + 1 :]


def _insert(shape: Argument, axis: Argument, size: Argument = 1) -> Shape:
    assert isinstance(shape, tuple) and not isinstance(size, tuple)
    at = axis_of(shape, axis, 1)
    return (*shape[:at], size, *shape[at:])


def _replace(shape: Argument, axis: Argument, size: Argument) -> Shape:
    assert isinstance(shape, tuple) and not isinstance(size, tuple)
    at = axis_of(shape, axis)
    return (*shape[:at], size, *shape[at + 1 :])


def _permute(shape: Argument, *axes: Argument) -> Shape:
    assert isinstance(shape, tuple)
    order = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple) else axes
    if sorted(axis for axis in order if isinstance(axis, int)) != list(range(len(shape))):
        raise ShapeError(f"a permutation of {len(shape)} axes names each of 0 to {len(shape) - 1} once")
    return tuple(shape[axis] for axis in order if isinstance(axis, int))


def _join(a: Argument, b: Argument) -> Shape:
    assert isinstance(a, tuple) and isinstance(b, tuple)
    if len(a) < len(b):
        a, b = b, a
    lead = len(a) - len(b)
    return a[:lead] + tuple(_join_size(m, n) for m, n in zip(a[lead:], b, strict=True))


def _join_size(m: Size | PackItem, n: Size | PackItem) -> Size | PackItem:
    if n == 1 or m == n:
        return m
    if m == 1:
        return n
    assert not isinstance(m, PackItem) and not isinstance(n, PackItem)
    if can_differ(m, n):
        raise ShapeError(f"sizes {m} and {n} do not match")
    return n if isinstance(n, int) else m


_FUNCTIONS: dict[str, Callable[..., Shape]] = {
    "drop": _drop,
    "insert": _insert,
    "permute": _permute,
    "join": _join,
    "replace": _replace,
}
SHAPE_FUNCTIONS = tuple(_FUNCTIONS)
