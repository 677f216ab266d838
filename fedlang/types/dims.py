"""Sizes of tensor axes: an `int`, or a `Dim`, a polynomial over named sizes.

Two sizes are equal when their polynomials are; they can never be equal when the polynomials differ by a constant other
than zero; anything else waits until the names have values. `ceil` and `floor` quotients are atoms of the polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

from fedlang.frozen import Frozen


class Named(Frozen):
    """A size with a name: a dimension parameter, or one named when a value with a `?` is opened."""

    name: str
    id: int = 0  # tells apart sizes that print alike; 0 for one told by its name alone

    def __hash__(self) -> int:
        return hash(self.name) ^ self.id


class Unknown(Frozen):
    """`?`: some size. Leaves that share a `?` share its `id`."""

    id: int

    def __hash__(self) -> int:
        return self.id


class Solvable(Frozen):
    """A size the checker is looking for."""

    id: int

    def __hash__(self) -> int:
        return self.id


class Quotient(Frozen):
    """`ceil(a / b)`, `floor(a / b)` or, for kind "exact", `a / b`, where it does not simplify."""

    kind: str
    dividend: Size
    divisor: Size


Atom = Named | Unknown | Solvable | Quotient
Term = tuple[tuple[Atom, ...], int]
_fresh = count(1)


class Dim(Frozen):
    """A polynomial: terms of (product of atoms, coefficient), in a canonical order, never a plain constant."""

    terms: tuple[Term, ...]

    def __hash__(self) -> int:
        cached = self.__dict__.get("_hash")
        if cached is None:
            cached = self.__dict__["_hash"] = hash(self.terms)
        return int(cached)

    def __str__(self) -> str:
        return print_size(self)

    @property
    def atom(self) -> Atom | None:
        """The atom this size is, when it is nothing but one."""
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            return self.terms[0][0][0]
        return None


Size = int | Dim


def named(name: str) -> Dim:
    """The size called `name`: equal to every other size of that name."""
    return of_atom(Named(name))


def fresh_named(name: str) -> Dim:
    """A new size that prints as `name` and equals no other."""
    return of_atom(Named(name, next(_fresh)))


def fresh_unknown() -> Dim:
    """A new `?`."""
    return of_atom(Unknown(next(_fresh)))


def of_atom(atom: Atom) -> Dim:
    """The size that is this atom."""
    return Dim((((atom,), 1),))


def _terms(size: Size) -> tuple[Term, ...]:
    if isinstance(size, int):
        return (((), size),) if size else ()
    return size.terms


def _from_terms(terms: Mapping[tuple[Atom, ...], int]) -> Size:
    kept = [(atoms, number) for atoms, number in terms.items() if number]
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return Dim(tuple(sorted(kept, key=lambda term: (not term[0], [_order(atom) for atom in term[0]]))))


def _order(atom: Atom) -> tuple[str, str, int]:
    match atom:
        case Named(name, id):
            return ("a", name, id)
        case Unknown(id) | Solvable(id):
            return ("b", type(atom).__name__, id)
        case Quotient(kind, dividend, divisor):
            return ("c", f"{kind}{dividend}/{divisor}", 0)


def add(a: Size, b: Size) -> Size:
    """`a + b`."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    terms = dict(_terms(a))
    for atoms, number in _terms(b):
        terms[atoms] = terms.get(atoms, 0) + number
    return _from_terms(terms)


def multiply(a: Size, b: Size) -> Size:
    """`a * b`."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    terms: dict[tuple[Atom, ...], int] = {}
    for left, m in _terms(a):
        for right, n in _terms(b):
            atoms = tuple(sorted((*left, *right), key=_order))
            terms[atoms] = terms.get(atoms, 0) + m * n
    return _from_terms(terms)


def subtract(a: Size, b: Size) -> Size:
    """`a - b`."""
    return add(a, multiply(-1, b))


def product(sizes: tuple[Size, ...]) -> Size:
    """The product of all; 1 for none."""
    result: Size = 1
    for size in sizes:
        result = multiply(result, size)
    return result


def divide(a: Size, b: Size, kind: str) -> Size:
    """The quotient of kind "ceil", "floor" or "exact". Raises `ArithmeticError` where it cannot be."""
    if b == 0:
        raise ZeroDivisionError("a size divided by zero")
    if b == 1:
        return a
    if isinstance(a, int) and isinstance(b, int):
        if kind == "exact" and a % b:
            raise ArithmeticError(f"{a} is not a multiple of {b}")
        return -(-a // b) if kind == "ceil" else a // b
    if isinstance(b, int) and all(number % b == 0 for _, number in _terms(a)):
        return _from_terms({atoms: number // b for atoms, number in _terms(a)})
    if isinstance(b, Dim) and a == b:
        return 1
    if isinstance(b, Dim) and len(b.terms) == 1 and isinstance(a, Dim):
        whole = _divide_monomial(a, b.terms[0])
        if whole is not None:
            return whole
    return of_atom(Quotient(kind, a, b))


def _divide_monomial(a: Dim, by: Term) -> Size | None:
    terms: dict[tuple[Atom, ...], int] = {}
    for atoms, number in a.terms:
        left = list(atoms)
        for atom in by[0]:
            if atom not in left:
                return None
            left.remove(atom)
        if number % by[1]:
            return None
        terms[tuple(left)] = number // by[1]
    return _from_terms(terms)


def can_differ(a: Size, b: Size) -> bool:
    """Whether the two are surely different: their difference is a constant other than zero."""
    difference = subtract(a, b)
    return isinstance(difference, int) and difference != 0


def atoms_of(size: Size) -> tuple[Atom, ...]:
    """Every atom in a size, those inside quotients included."""
    if isinstance(size, int):
        return ()
    found: list[Atom] = []
    for atoms, _ in size.terms:
        for atom in atoms:
            found.append(atom)
            if isinstance(atom, Quotient):
                found += [*atoms_of(atom.dividend), *atoms_of(atom.divisor)]
    return tuple(found)


def substitute(size: Size, value: Callable[[Atom], Size | None]) -> Size:
    """The size with atoms replaced; `value` gives None for those that stay."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for atoms, number in size.terms:
        term: Size = number
        for atom in atoms:
            term = multiply(term, _substitute_atom(atom, value))
        total = add(total, term)
    return total


def _substitute_atom(atom: Atom, value: Callable[[Atom], Size | None]) -> Size:
    replaced = value(atom)
    if replaced is not None:
        return replaced
    if isinstance(atom, Quotient):
        return divide(substitute(atom.dividend, value), substitute(atom.divisor, value), atom.kind)
    return of_atom(atom)


def evaluate(size: Size, values: Mapping[Atom, int]) -> int:
    """The number a size is when its names have values. Raises `KeyError` for one that has none."""

    def value(atom: Atom) -> Size | None:
        return None if isinstance(atom, Quotient) else values[atom]

    result = substitute(size, value)
    assert isinstance(result, int), f"{size} still has names"
    return result


def print_size(size: Size) -> str:
    """The size as the language writes it: `n`, `2`, `n + 1`, `product(4, h)`, `ceil(h / 2)`, `?`."""
    if isinstance(size, int):
        return str(size)
    text = ""
    for atoms, number in size.terms:
        factors = [_print_atom(atom) for atom in atoms]
        if abs(number) != 1 or not factors:
            factors.insert(0, str(abs(number)))
        shown = factors[0] if len(factors) == 1 else f"product({', '.join(factors)})"
        text += shown if not text and number > 0 else f" {'+' if number > 0 else '-'} {shown}"
    return text.strip()


def _print_atom(atom: Atom) -> str:
    match atom:
        case Named(name):
            return name
        case Unknown():
            return "?"
        case Solvable():
            return "_"
        case Quotient("exact", dividend, divisor):
            return f"{_print_part(dividend)} / {_print_part(divisor)}"
        case Quotient(kind, dividend, divisor):
            return f"{kind}({_print_part(dividend)} / {_print_part(divisor)})"


def _print_part(size: Size) -> str:
    """A side of a quotient, in parentheses where it is a sum or a quotient itself."""
    shown = print_size(size)
    atom = size.atom if isinstance(size, Dim) else None
    exact = isinstance(atom, Quotient) and atom.kind == "exact"
    return f"({shown})" if isinstance(size, Dim) and (len(size.terms) > 1 or exact) else shown
