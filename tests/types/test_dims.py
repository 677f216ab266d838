"""Sizes are polynomials: the laws of a ring, of substitution and of division."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlang.types.dims import (
    Atom,
    Dim,
    Named,
    Size,
    add,
    atoms_of,
    can_differ,
    divide,
    evaluate,
    fresh_named,
    fresh_unknown,
    multiply,
    named,
    of_atom,
    print_size,
    product,
    substitute,
    subtract,
)

NAMES = ("a", "b", "c")
numbers = st.integers(-4, 4)
atoms = st.sampled_from(NAMES).map(named)


def combined(parts: st.SearchStrategy[Size]) -> st.SearchStrategy[Size]:
    pairs = st.tuples(st.sampled_from((add, subtract, multiply)), parts, parts)
    quotients = st.tuples(parts, st.integers(2, 5), st.sampled_from(("ceil", "floor")))
    return pairs.map(lambda three: three[0](three[1], three[2])) | quotients.map(lambda three: divide(*three))


sizes: st.SearchStrategy[Size] = st.recursive(numbers | atoms, combined, max_leaves=6)
values = st.fixed_dictionaries({Named(name): st.integers(0, 9) for name in NAMES})


@given(sizes, sizes, sizes)
def test_sums_and_products_are_a_ring(a: Size, b: Size, c: Size) -> None:
    assert add(a, b) == add(b, a)
    assert multiply(a, b) == multiply(b, a)
    assert add(add(a, b), c) == add(a, add(b, c))
    assert multiply(multiply(a, b), c) == multiply(a, multiply(b, c))
    assert multiply(a, add(b, c)) == add(multiply(a, b), multiply(a, c))
    assert add(a, 0) == a
    assert multiply(a, 1) == a
    assert multiply(a, 0) == 0
    assert subtract(a, a) == 0
    assert product((a, b, c)) == multiply(multiply(a, b), c)


@given(sizes, sizes, values)
def test_numbers_for_names_keep_sums_and_products(a: Size, b: Size, found: dict[Atom, int]) -> None:
    assert evaluate(add(a, b), found) == evaluate(a, found) + evaluate(b, found)
    assert evaluate(multiply(a, b), found) == evaluate(a, found) * evaluate(b, found)
    assert evaluate(subtract(a, b), found) == evaluate(a, found) - evaluate(b, found)


@given(sizes, st.integers(1, 7), values)
def test_quotients_round_as_they_say(a: Size, by: int, found: dict[Atom, int]) -> None:
    value = evaluate(a, found)
    assert evaluate(divide(a, by, "floor"), found) == value // by
    assert evaluate(divide(a, by, "ceil"), found) == -(-value // by)


@given(sizes, sizes, values)
def test_what_can_differ_does(a: Size, b: Size, found: dict[Atom, int]) -> None:
    if can_differ(a, b):
        assert evaluate(a, found) != evaluate(b, found)
    assert not can_differ(a, a)
    assert can_differ(a, add(a, 1))


@given(sizes, sizes, sizes)
def test_substitution_keeps_sums(a: Size, b: Size, c: Size) -> None:
    def by(atom: Atom) -> Size | None:
        return c if atom == Named("a") else None

    assert substitute(add(a, b), by) == add(substitute(a, by), substitute(b, by))
    assert substitute(multiply(a, b), by) == multiply(substitute(a, by), substitute(b, by))
    assert substitute(a, lambda _: None) == a


@given(sizes)
def test_equal_sizes_print_alike_and_hash_alike(a: Size) -> None:
    again = add(subtract(a, named("c")), named("c"))
    assert print_size(again) == print_size(a)
    assert hash(again) == hash(a)


@given(st.integers(1, 9), atoms, atoms)
def test_exact_division_undoes_products(n: int, a: Size, b: Size) -> None:
    assert divide(multiply(n, a), n, "exact") == a
    assert divide(multiply(a, b), a, "exact") == b
    assert divide(multiply(multiply(n, a), b), multiply(n, a), "floor") == b
    assert divide(a, a, "ceil") == 1


def test_divisions_that_cannot_be() -> None:
    with pytest.raises(ZeroDivisionError):
        divide(named("n"), 0, "floor")
    with pytest.raises(ArithmeticError):
        divide(3, 2, "exact")


def test_printed_as_written() -> None:
    n, h = named("n"), named("h")
    shown = {
        "n + 1": add(n, 1),
        "n - 1": subtract(n, 1),
        "product(4, h)": multiply(4, h),
        "product(h, n)": multiply(n, h),
        "ceil(h / 2)": divide(h, 2, "ceil"),
        "floor((n - 1) / 2)": divide(subtract(n, 1), 2, "floor"),
        "?": fresh_unknown(),
        "0": 0,
    }
    assert {print_size(size): size for size in shown.values()} == shown


def test_fresh_names_print_alike_but_differ() -> None:
    first, second = fresh_named("n"), fresh_named("n")
    assert str(first) == str(second) == "n"
    assert first != second
    assert not can_differ(first, second)


def test_atoms_inside_quotients_are_found() -> None:
    size = add(divide(named("n"), 2, "ceil"), named("m"))
    assert {Named("n"), Named("m")} <= set(atoms_of(size))
    assert isinstance(size, Dim)
    assert size.atom is None
    assert of_atom(Named("m")).atom == Named("m")
