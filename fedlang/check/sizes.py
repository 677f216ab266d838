"""Expressions that are known when compiling: sizes, shapes and type arguments."""

from __future__ import annotations

from fedlang.check import errors
from fedlang.check.body import Body
from fedlang.syntax import tree
from fedlang.types.dims import Size, add, divide, multiply, subtract
from fedlang.types.types import PackItem, Shape, TypeVariable


def static_size(body: Body, written: tree.Expression) -> Size | None:
    """The size an expression of numbers and dimensions is; None where it is not one."""
    match written:
        case tree.IntegerLiteral(value):
            return value
        case tree.Unary("-", operand):
            inner = static_size(body, operand)
            return None if inner is None else multiply(-1, inner)
        case tree.Variable(name):
            found = None if name.text in body.scope else body.annotations.names.get(name.text)
            return None if found is None or isinstance(found, TypeVariable) else found
        case tree.Binary(operator, left, right):
            return _arithmetic(operator, static_size(body, left), static_size(body, right))
        case _:
            return None


def _arithmetic(operator: str, left: Size | None, right: Size | None) -> Size | None:
    if left is None or right is None:
        return None
    match operator:
        case "+":
            return add(left, right)
        case "-":
            return subtract(left, right)
        case "*":
            return multiply(left, right)
        case "//" if right != 0:
            return divide(left, right, "floor")
        case _:
            return None


def static_shape(body: Body, written: tree.Expression) -> Shape | None:
    """The shape a list of sizes is; None where it is not one."""
    if isinstance(written, tree.Variable) and written.name.text not in body.scope:
        found = body.annotations.names.get(written.name.text)
        if isinstance(found, TypeVariable) and found.kind == "pack":
            return (PackItem(found),)
    if not isinstance(written, tree.ListExpression):
        return None
    sizes = [static_size(body, item) for item in written.items]
    return None if None in sizes else tuple(size for size in sizes if size is not None)


def type_arguments(body: Body, items: tuple[tree.Expression | tree.Slice, ...]) -> tuple[tree.TypeArgument, ...] | None:
    """What stands between the brackets of `zeros[float32[n, 3]]`, read as types and sizes."""
    found = [_type_argument(item) for item in items]
    for item, argument in zip(items, found, strict=True):
        if argument is None:
            named = isinstance(item, tree.RecordExpression)
            wanted = "give this type a name with `type` first" if named else "a type or a size is needed here"
            body.report(errors.no_type_arguments(item.span, item.span.text, wanted))
    return None if None in found else tuple(argument for argument in found if argument is not None)


def _type_argument(item: tree.Expression | tree.Slice) -> tree.TypeArgument | None:
    match item:
        case tree.Variable(name, span):
            return tree.NamedType(name, (), span)
        case tree.IntegerLiteral(value, _, span):
            return tree.IntegerDim(value, span)
        case tree.Index(target, inner, span):
            base = _type_argument(target)
            parts = [_type_argument(part) for part in inner]
            if not isinstance(base, tree.NamedType) or None in parts:
                return None
            group = tuple(part for part in parts if part is not None)
            return tree.NamedType(base.name, (*base.arguments, group), span)
        case tree.Binary(operator, left, right, _, span) if operator in ("+", "-", "/"):
            a, b = _type_argument(left), _type_argument(right)
            return None if a is None or b is None else tree.BinaryDim(operator, a, b, span)
        case tree.Call(tree.Variable(name), arguments, span):
            parts = [_type_argument(argument.value) for argument in arguments]
            return (
                None if None in parts else tree.CallDim(name, tuple(part for part in parts if part is not None), span)
            )
        case tree.TupleExpression(items, span):
            parts = [_type_argument(part) for part in items]
            kinds = tuple(part for part in parts if part is not None and not isinstance(part, _NOT_TYPES))
            return tree.TupleType(kinds, span) if len(kinds) == len(items) else None
        case _:
            return None


_NOT_TYPES = (tree.IntegerDim, tree.UnknownDim, tree.BinaryDim, tree.CallDim, tree.Pack)
