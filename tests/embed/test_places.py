"""Mistakes in traced programs point at the expression in the Python file that made them."""

from __future__ import annotations

from typing import Any

import pytest

import fedlang as fl


def pointed_at(function: Any, *types: str) -> str:
    """The text that the first label covers."""
    with pytest.raises(fl.DiagnosticError) as caught:
        fl.federated_computation(*types)(function)
    span = caught.value.diagnostics[0].span
    assert span is not None
    assert span.source.path == __file__
    return span.text


def test_an_argument_on_a_line_of_its_own() -> None:
    def body(x: Any, ö: Any) -> Any:
        return fl.federated_mean(
            x,
            weight=ö["ü"].of_weight,
        )

    assert pointed_at(body, "<float32>@CLIENTS", "<{of_weight: float32}>@CLIENTS") == 'ö["ü"]'


def test_one_side_of_an_operator_behind_wide_letters() -> None:
    def body(größe: Any, y: Any) -> Any:
        return fl.federated_sum(größe * (y + "日本"))

    assert pointed_at(body, "<float32>@CLIENTS", "<float32>@CLIENTS") == 'y + "日本"'


def test_comparisons_and_methods() -> None:
    def body(x: Any) -> Any:
        return fl.federated_sum(fl.language.where(x > True, x, -x))

    assert pointed_at(body, "<float32>@CLIENTS") == "x > True"


def test_a_helper_of_the_user_is_where_it_happens() -> None:
    def helper(x: Any) -> Any:
        return x.missing

    def body(x: Any) -> Any:
        return fl.federated_sum(helper(x))

    assert pointed_at(body, "<float32>@CLIENTS") == "x.missing"


def test_spread_arguments_point_at_the_call() -> None:
    def body(*x: Any) -> Any:
        return fl.federated_sum(*x, *x)

    assert pointed_at(body, "<float32>@CLIENTS") == "fl.federated_sum(*x, *x)"


def test_python_without_a_file() -> None:
    text = "@fl.federated_computation('<float32>@CLIENTS')\ndef f(x):\n    return fl.federated_sum(x.a)\n"
    with pytest.raises(fl.DiagnosticError, match=r"--> <made>:3:"):
        exec(compile(text, "<made>", "exec"), {"fl": fl, "__name__": "made"})
