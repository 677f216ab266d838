"""Types as they would be written: trees, for parameters whose types were made in Python.

Text would do but for the names of fields: what comes from elsewhere may have names, such as `dense/kernel`, that no
program can write. In a tree they are names like any other.
"""

from __future__ import annotations

from fedlang.source import Source, Span
from fedlang.syntax import tree
from fedlang.syntax.parser import parse_type
from fedlang.types.dims import Size, print_size
from fedlang.types.types import PackItem, PlacedType, RecordType, SequenceType, TensorType, TupleType, Type, print_type


def written_type(type: Type, span: Span) -> tree.TypeTree:
    """The tree of a type; its places are all `span`."""
    match type:
        case TensorType(str() as dtype, shape) if all(_is_plain(size) for size in shape):
            sizes = tuple(_size(size, span) for size in shape)
            return tree.NamedType(tree.Name(dtype, span), (sizes,) if sizes else (), span)
        case RecordType(fields):
            named = tuple((tree.Name(name, span), written_type(item, span)) for name, item in fields)
            return tree.RecordType(named, span)
        case TupleType(items):
            return tree.TupleType(tuple(written_type(item, span) for item in items), span)
        case SequenceType(element):
            return tree.SequenceType(written_type(element, span), span)
        case PlacedType(place, each, inner):
            return tree.PlacedType(written_type(inner, span), tree.Name(place, span), each, span)
        case _:
            return parse_type(Source("<type>", print_type(type)))


def _is_plain(size: Size | PackItem) -> bool:
    return isinstance(size, int) or (not isinstance(size, PackItem) and print_size(size) == "?")


def _size(size: Size | PackItem, span: Span) -> tree.TypeArgument:
    return tree.IntegerDim(size, span) if isinstance(size, int) else tree.UnknownDim(span)
