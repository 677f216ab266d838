"""A type printed, parsed and resolved again is the same type."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedlang.check.annotations import Annotations
from fedlang.diagnostics import Diagnostic
from fedlang.modules import Modules
from fedlang.names.world import World
from fedlang.source import Source
from fedlang.syntax.parser import parse_type
from fedlang.types.dims import Size, add, divide, multiply, named, subtract
from fedlang.types.dtypes import DTYPES
from fedlang.types.types import (
    CLIENTS,
    SERVER,
    FunctionType,
    ParameterType,
    SequenceType,
    TensorType,
    Type,
    has_sequence,
    is_data,
    placed,
    print_type,
    record,
    tuple_of,
)

SIZES: dict[str, Size] = {name: named(name) for name in ("n", "m")}
simple: st.SearchStrategy[Size] = st.integers(1, 9) | st.sampled_from(list(SIZES.values()))


def combined(parts: st.SearchStrategy[Size]) -> st.SearchStrategy[Size]:
    return st.tuples(parts, st.integers(1, 5)).flatmap(
        lambda pair: st.sampled_from([add(*pair), multiply(*pair), divide(*pair, "ceil"), divide(*pair, "floor")])
    )


composed = st.recursive(simple, combined, max_leaves=4)
tensors: st.SearchStrategy[Type] = st.builds(
    TensorType, st.sampled_from(DTYPES), st.lists(simple | composed, max_size=3).map(tuple)
)


def grown(parts: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    fields = st.dictionaries(st.sampled_from(("x", "y", "value")), parts, max_size=3)
    return (
        fields.map(lambda found: record(tuple(found.items())))
        | st.lists(parts, max_size=3).filter(lambda items: len(items) != 1).map(lambda items: tuple_of(tuple(items)))
        | parts.filter(lambda part: not has_sequence(part)).map(SequenceType)
    )


data = st.recursive(tensors, grown, max_leaves=5)
at = st.sampled_from(((SERVER, False), (CLIENTS, False), (CLIENTS, True)))
placed_types = st.tuples(at, data).map(lambda pair: placed(*pair[0], pair[1]))


def functions(parts: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    kinds = st.lists(parts.map(ParameterType), max_size=2).map(tuple)
    return st.builds(FunctionType, kinds, parts)


types = data | placed_types | functions(data | placed_types) | functions(functions(data))


def resolved(text: str) -> Type:
    found: list[Diagnostic] = []
    world = World(Modules().find, list)
    world.load_root(Source("test.fed", "fn f() -> float32 { 1.0 }\n"))
    annotations = Annotations(world, "", lambda symbol, span: None, found.append)
    annotations.names = dict(SIZES)
    type = annotations.type(parse_type(text))
    assert not found, text
    return type


@given(types)
def test_round_trip(type: Type) -> None:
    assert resolved(print_type(type)) == type


def test_sizes_of_differences() -> None:
    type = TensorType("float32", (subtract(named("n"), 1),))
    assert resolved(print_type(type)) == type
    assert is_data(type)
