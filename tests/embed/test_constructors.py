"""Types made in Python."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest

import fedlang as fl

Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        (np.int32, "int32"),
        (np.dtype("uint8"), "uint8"),
        (np.str_, "string"),
        (np.dtype("U3"), "string"),
        (bool, "bool"),
        ("float32[2, 3]", "float32[2, 3]"),
        ("<{a: float32}>@CLIENTS", "<{a: float32}>@CLIENTS"),
        ((np.float32, [3]), "float32[3]"),
        ((np.float32, (None, 784)), "float32[?, 784]"),
        ((np.float32, []), "float32"),
        ([np.int32, np.float32], "(int32, float32)"),
        ((np.int32, np.float32), "(int32, float32)"),
        ([("a", np.int32), ("b", np.bool_)], "{a: int32, b: bool}"),
        ({"b": np.int32, "a": (np.int32, [2])}, "{b: int32, a: int32[2]}"),
        (Point(np.int32, "float32"), "{x: int32, y: float32}"),
        ([], "()"),
        (fl.TensorType(np.float32, [None, 3]), "float32[?, 3]"),
        (fl.SequenceType(collections.OrderedDict(x=(np.float32, [None, 784]))), "{x: float32[?, 784]}*"),
        (fl.StructType([np.int32, np.bool_]), "(int32, bool)"),
        (fl.StructType([("a", np.int32)]), "{a: int32}"),
        (fl.FunctionType(None, np.int32), "() -> int32"),
        (fl.FunctionType([np.int32, np.bool_], np.int32), "(int32, bool) -> int32"),
        (fl.FunctionType(np.int32, np.int32), "(int32) -> int32"),
        (fl.FederatedType(np.int32, fl.CLIENTS), "<int32>@CLIENTS"),
        (fl.FederatedType(np.int32, fl.CLIENTS, all_equal=True), "int32@CLIENTS"),
        (fl.FederatedType([np.int32, np.int32], fl.SERVER), "(int32, int32)@SERVER"),
    ],
)
def test_what_stands_for_a_type(spec: Any, ours: str) -> None:
    assert str(fl.to_type(spec)) == ours


def test_specs_of_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices(
        collections.OrderedDict(x=np.zeros([5, 784], np.float32), y=np.zeros([5, 1], np.int32))
    ).batch(2)
    theirs = "{<x=float32[?,784],y=int32[?,1]>*}@CLIENTS"
    assert fl.FederatedType(fl.to_type(data), fl.CLIENTS).to_tff() == theirs
    assert fl.FederatedType(fl.SequenceType(data.element_spec), fl.CLIENTS).to_tff() == theirs
    assert fl.to_type((tf.string, (tf.float32, [None]))).to_tff() == "<string,float32[?]>"
    assert str(fl.to_type(tf.TensorSpec([3], tf.bfloat16))) == "bfloat16[3]"
    with pytest.raises(fl.DiagnosticError, match="number of axes is not known"):
        fl.to_type(tf.TensorSpec(None, tf.float32))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fl.to_type(int), "write `np.int32`"),
        (lambda: fl.to_type(np.float32(1)), "is not one of them"),
        (lambda: fl.to_type(np.complex64), "is no type"),
        (lambda: fl.to_type([np.int32, ("a", np.bool_)]), "name all of them, or none"),
        (lambda: fl.TensorType("float31"), "dtypes are bool"),
        (lambda: fl.FederatedType(np.int32, "clients"), "write `fl.CLIENTS` or `fl.SERVER`"),
        (lambda: fl.FederatedType(np.int32, fl.SERVER, all_equal=False), "there is one server"),
        (lambda: fl.FederatedType(fl.FederatedType(np.int32, fl.CLIENTS), fl.CLIENTS), "have none inside"),
        (lambda: fl.SequenceType(fl.FunctionType(None, np.int32)), "have none inside"),
    ],
)
def test_what_stands_for_none(make: Any, words: str) -> None:
    with pytest.raises(fl.DiagnosticError) as caught:
        make()
    (found,) = caught.value.diagnostics
    assert found.code == "FED0812"
    assert found.span is not None
    assert found.span.source.path == __file__
    assert words in str(caught.value)


def test_text_that_is_no_type_is_shown() -> None:
    with pytest.raises(fl.DiagnosticError, match="did you mean `float32`"):
        fl.to_type("flaot32")
