"""Which known word a mistyped one is taken for."""

from __future__ import annotations

import pytest

from fedlang.names.nearest import distance, nearest


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("wieghts", "weights"),
        ("weight", "weights"),
        ("FederatedMean", "federated_mean"),
        ("federated_maen", "federated_mean"),
        ("x", None),
        ("loss", None),
        ("", None),
    ],
)
def test_nearest(word: str, found: str | None) -> None:
    assert nearest(word, ["weights", "federated_mean", "y"]) == found


def test_a_swap_is_one_slip() -> None:
    assert distance("ab", "ba") == 1
    assert distance("", "abc") == 3
    assert distance("kitten", "sitting") == 3
