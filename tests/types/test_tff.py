"""Types in the notation of TensorFlow Federated: the lines of its documentation, and those of its 2019 tutorial."""

from __future__ import annotations

import pytest

from fedlang.checking import open_source
from fedlang.modules import Modules
from fedlang.names.world import Symbol
from fedlang.source import Source
from fedlang.types.types import FunctionType, Type, unplaced

STATE = "{model: {trainable: {kernel: float32[784, 10], bias: float32[10]}, non_trainable: ()}, step: int64}"
BATCH = "{x: float32[?, 784], y: int32[?, 1]}"


def signature(text: str, name: str = "f") -> FunctionType:
    unit = open_source(Source("types.fed", text), Modules())
    unit.verify()
    found = unit.checker.signature(Symbol("", name), unit.world.root.declarations[0].span)
    assert found is not None
    assert isinstance(found.type, FunctionType)
    return found.type


def type_of(text: str) -> Type:
    return signature(f"fed f(x: {text}) -> {text} {{ x }}").parameters[0].type


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("<int32>@CLIENTS", "{int32}@CLIENTS"),
        ("int32@CLIENTS", "int32@CLIENTS"),
        ("int32@SERVER", "int32@SERVER"),
        ("<int32*>@CLIENTS", "{int32*}@CLIENTS"),
        (f"<{BATCH}*>@CLIENTS", "{<x=float32[?,784],y=int32[?,1]>*}@CLIENTS"),
        ("<{a: int32, b: bool}>@CLIENTS", "{<a=int32,b=bool>}@CLIENTS"),
        ("<(int32, float32)>@CLIENTS", "{<int32,float32>}@CLIENTS"),
        ("(<int32>@CLIENTS, int32@SERVER)", "<{int32}@CLIENTS,int32@SERVER>"),
        ("{a: <float32>@CLIENTS, b: float32@SERVER}", "<a={float32}@CLIENTS,b=float32@SERVER>"),
        ("string@SERVER", "string@SERVER"),
        ("()@SERVER", "<>@SERVER"),
        ("float32[28, 28]@SERVER", "float32[28,28]@SERVER"),
        ("Key@SERVER", "uint32[2]@SERVER"),
        ("Key[3]@SERVER", "uint32[3,2]@SERVER"),
    ],
)
def test_placed_types(ours: str, theirs: str) -> None:
    type = type_of(ours)
    assert type.to_tff() == theirs
    assert f"{type:tff}" == theirs
    assert f"{type}" == str(type) == ours


@pytest.mark.parametrize(
    ("text", "theirs"),
    [
        ('fn f() -> string { "a" }', "( -> string)"),
        ("fn f(x: int32) -> int32 { x }", "(int32 -> int32)"),
        ("fn f(x: int32, y: int32) -> int32 { x }", "(<int32,int32> -> int32)"),
        ("fn f(g: (int32) -> int32, x: int32) -> int32 { g(x) }", "(<(int32 -> int32),int32> -> int32)"),
        ("fn f[n](x: float32[n, 3]) -> float32[n] { reduce_sum(x, axis = 1) }", "(float32[?,3] -> float32[?])"),
        ("fn f[...s](x: float32[...s]) -> float32[...s] { x }", "(tf.float32[None] -> tf.float32[None])"),
        ("fn f[T](x: T) -> T { x }", "(T -> T)"),
        (
            "fed f(x: <float32>@CLIENTS, w: <float32>@CLIENTS) -> float32@SERVER { federated_mean(x, w) }",
            "(<{float32}@CLIENTS,{float32}@CLIENTS> -> float32@SERVER)",
        ),
    ],
)
def test_functions(text: str, theirs: str) -> None:
    assert signature(text).to_tff() == theirs


def test_names_that_the_language_does_not_have() -> None:
    found = type_of(f"{STATE}@SERVER").to_tff(
        {"model.trainable.kernel": "dense/kernel", "bias": "dense/bias", "step": "optimizer_state"}
    )
    assert found == (
        "<model=<trainable=<dense/kernel=float32[784,10],dense/bias=float32[10]>,non_trainable=<>>,"
        "optimizer_state=int64>@SERVER"
    )


def test_a_place_at_each_field() -> None:
    weights = "{trainable: {weights: float32[784, 10], bias: float32[10]}, non_trainable: ()}"
    metrics = "{accuracy: float32, loss: float32, num_examples: float32}"
    text = (
        f"fed f(model: {weights}@SERVER, data: <{BATCH}*>@CLIENTS) -> {metrics}@SERVER"
        " { federated_value({accuracy: 0.0, loss: 0.0, num_examples: 0.0}) }"
    )
    assert signature(text).to_tff(zipped=False) == (
        "(<<trainable=<weights=float32[784,10],bias=float32[10]>,non_trainable=<>>@SERVER,"
        "{<x=float32[?,784],y=int32[?,1]>*}@CLIENTS> -> "
        "<accuracy=float32@SERVER,loss=float32@SERVER,num_examples=float32@SERVER>)"
    )


def test_a_function_takes_one_thing() -> None:
    assert signature("fn f() -> int32 { 1 }").parameter is None
    one = signature("fn f(x: int32) -> int32 { x }")
    assert one.parameter == one.result
    two = signature("fed f(x: int32@SERVER, y: int32@SERVER) -> int32@SERVER { x }")
    assert str(two.parameter) == "(int32@SERVER, int32@SERVER)"
    assert two.parameter is not None
    assert unplaced(two.parameter) == two.parameter


def test_what_may_stand_for_what() -> None:
    each, same = type_of("<float32>@CLIENTS"), type_of("float32@CLIENTS")
    assert each.is_assignable_from(same)
    assert not same.is_assignable_from(each)
    assert type_of("<float32[?]>@CLIENTS").is_assignable_from(type_of("<float32[3]>@CLIENTS"))
    assert not each.is_assignable_from(type_of("<float64>@CLIENTS"))
