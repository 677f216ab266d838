"""What may stand for what, and what is found by asking."""

from __future__ import annotations

import pytest

from fedlang.types.dims import Solvable, add, fresh_unknown, named, of_atom, subtract
from fedlang.types.solve import Solver, open_unknowns
from fedlang.types.types import (
    BOOL,
    CLIENTS,
    ERROR,
    FLOAT32,
    INT32,
    SERVER,
    UNIT,
    FunctionType,
    PackItem,
    ParameterType,
    PlacedType,
    Prefixed,
    SequenceType,
    Shape,
    TensorType,
    Type,
    fresh_meta,
    fresh_variable,
    placed,
    prefix,
    print_type,
    record,
    tuple_of,
)


def tensor(*shape: int | object, dtype: str = "float32") -> TensorType:
    return TensorType(dtype, shape)  # type: ignore[arg-type]


def function(result: Type, *parameters: Type) -> FunctionType:
    return FunctionType(tuple(ParameterType(each) for each in parameters), result)


SERVER_FLOAT, ALL_FLOAT = placed(SERVER, False, FLOAT32), placed(CLIENTS, False, FLOAT32)
EACH_FLOAT = placed(CLIENTS, True, FLOAT32)
PAIR = record((("a", FLOAT32), ("b", INT32)))


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (FLOAT32, FLOAT32),
        (PAIR, record((("b", INT32), ("a", FLOAT32)))),
        (FLOAT32, SERVER_FLOAT),
        (FLOAT32, EACH_FLOAT),
        (ALL_FLOAT, EACH_FLOAT),
        (UNIT, placed(SERVER, False, UNIT)),
        (tensor(3), tensor(fresh_unknown())),
        (tensor(named("n")), tensor(named("m"))),
        (function(FLOAT32, EACH_FLOAT), function(FLOAT32, ALL_FLOAT)),
        (ERROR, PAIR),
        (SequenceType(FLOAT32), ERROR),
    ],
)
def test_may_stand(actual: Type, expected: Type) -> None:
    assert Solver().assign(actual, expected) is None


@pytest.mark.parametrize(
    ("actual", "expected", "path", "reason"),
    [
        (FLOAT32, INT32, "", ""),
        (tensor(3), tensor(4), "", "size 3 is not 4"),
        (tensor(3), tensor(), "", "1 axis, not 0"),
        (tensor(named("n")), tensor(add(named("n"), 1)), "", "size n is not n + 1"),
        (SERVER_FLOAT, EACH_FLOAT, "", "places differ"),
        (EACH_FLOAT, ALL_FLOAT, "", "each client has a value of its own: it is not one that all share"),
        (PAIR, record((("a", FLOAT32), ("c", INT32))), "", "field `c` is missing; field `b` is not expected"),
        (
            record((("bais", FLOAT32),)),
            record((("bias", FLOAT32),)),
            "",
            "field `bais` is not expected: did you mean `bias`?",
        ),
        (PAIR, record((("a", FLOAT32),)), "", "field `b` is not expected"),
        (tuple_of((FLOAT32, INT32)), tuple_of((FLOAT32, BOOL)), ".1", ""),
        (record((("r", PAIR),)), record((("r", record((("a", FLOAT32), ("b", BOOL)))),)), ".r.b", ""),
        (function(FLOAT32, FLOAT32), function(FLOAT32), "", "it takes 1 parameter, not 0"),
        (function(FLOAT32, INT32), function(FLOAT32, FLOAT32), "(parameter 1)", ""),
        (function(FLOAT32, ALL_FLOAT), function(FLOAT32, EACH_FLOAT), "(parameter 1)", None),
        (SequenceType(FLOAT32), SequenceType(INT32), "*", ""),
    ],
)
def test_may_not_stand(actual: Type, expected: Type, path: str, reason: str | None) -> None:
    mismatch = Solver().assign(actual, expected)
    assert mismatch is not None
    assert mismatch.path == path
    if reason is not None:
        assert mismatch.reason == reason


def test_a_type_parameter_is_found_once() -> None:
    solver, wanted = Solver(), fresh_meta("data")
    assert solver.assign(PAIR, wanted) is None
    assert solver.resolve(wanted) == PAIR
    assert solver.assign(FLOAT32, wanted) is not None


def test_a_bound_speaks_of_every_leaf() -> None:
    mismatch = Solver().assign(PAIR, fresh_meta("data", "Float"))
    assert mismatch is not None
    assert mismatch.bound == "Float"


def test_type_parameters_are_data() -> None:
    for wrong in (function(FLOAT32), SERVER_FLOAT):
        assert Solver().assign(wrong, fresh_meta("data")) is not None
    assert Solver().assign(SERVER_FLOAT, fresh_meta("placed")) is None


def test_a_type_cannot_contain_itself() -> None:
    wanted = fresh_meta("data")
    mismatch = Solver().assign(tuple_of((wanted, FLOAT32)), wanted)
    assert mismatch is not None
    assert "itself" in mismatch.reason


def test_a_prefix_is_stripped_from_every_leaf() -> None:
    solver, rest = Solver(), fresh_meta("data")
    size = of_atom(Solvable(fresh_meta("size").id))
    batch = record((("x", tensor(7, 3)), ("y", tensor(7, dtype="int32"))))
    assert solver.assign(batch, Prefixed((size,), rest)) is None
    assert solver.resolve_size(size) == 7
    assert solver.resolve(rest) == record((("x", tensor(3)), ("y", INT32)))
    assert Solver().assign(record((("x", tensor(7)), ("y", tensor(8)))), Prefixed((size,), rest)) is not None


def test_sizes_are_solved_from_sums() -> None:
    solver = Solver()
    size = of_atom(Solvable(fresh_meta("size").id))
    assert solver.assign(tensor(5), tensor(add(size, 2))) is None
    assert solver.resolve_size(size) == 3
    n = named("n")
    other = of_atom(Solvable(fresh_meta("size").id))
    assert solver.assign(tensor(n), tensor(add(other, 1))) is None
    assert solver.resolve_size(other) == subtract(n, 1)


def test_a_pack_takes_the_axes_that_are_left() -> None:
    solver, pack = Solver(), fresh_meta("pack")
    wanted: Shape = (2, PackItem(pack), 5)
    assert solver.assign_shape((2, 3, 4, 5), wanted) is None
    assert solver.resolve_shape((PackItem(pack),)) == (3, 4)
    assert solver.assign_shape((5,), wanted) is not None


def test_unknown_sizes_of_one_name_agree() -> None:
    same = fresh_unknown()
    wanted = record((("x", tensor(same)), ("y", tensor(same))))
    assert Solver().assign(record((("x", tensor(3)), ("y", tensor(3)))), wanted) is None
    assert Solver().assign(record((("x", tensor(3)), ("y", tensor(4)))), wanted) is not None


def test_a_hint_that_does_not_fit_binds_nothing() -> None:
    solver, wanted = Solver(), fresh_meta("data")
    solver.hint(tuple_of((wanted, FLOAT32)), tuple_of((INT32, INT32)))
    assert solver.resolve(wanted) == wanted
    solver.hint(tuple_of((wanted, FLOAT32)), tuple_of((INT32, FLOAT32)))
    assert solver.resolve(wanted) == INT32


def test_giving_up_silences_what_follows() -> None:
    solver, wanted = Solver(), fresh_meta("data", "Float")
    solver.give_up(SequenceType(wanted))
    assert solver.assign(INT32, wanted) is None
    assert solver.resolve(wanted) == ERROR


def test_literals_take_their_own_dtypes_last() -> None:
    solver, number = Solver(), fresh_meta("dtype", "integer literal")
    literal = TensorType(number, ())
    assert solver.assign(literal, TensorType("int8", ())) is None
    assert solver.resolve(literal) == TensorType("int8", ())
    other = TensorType(fresh_meta("dtype", "float literal"), ())
    assert solver.assign(other, INT32) is not None
    solver.default_literals(other)
    assert solver.resolve(other) == FLOAT32


def test_opened_values_have_sizes_of_their_own() -> None:
    same = fresh_unknown()
    batch = record((("x", tensor(same, 3)), ("y", tensor(same))))
    first, second = open_unknowns(batch), open_unknowns(batch)
    assert first != second
    assert print_type(first) == print_type(batch)


def test_places_go_up() -> None:
    whole = record((("a", SERVER_FLOAT), ("b", placed(SERVER, False, INT32))))
    assert whole == PlacedType(SERVER, False, PAIR)
    assert not isinstance(record((("a", SERVER_FLOAT), ("b", EACH_FLOAT))), PlacedType)
    assert tuple_of((ALL_FLOAT, EACH_FLOAT)) == PlacedType(CLIENTS, True, tuple_of((FLOAT32, FLOAT32)))


def test_brackets_go_to_the_leaves() -> None:
    assert prefix((4,), PAIR) == record((("a", tensor(4)), ("b", tensor(4, dtype="int32"))))
    assert prefix((4,), SequenceType(FLOAT32)) is None
    assert prefix((2,), fresh_variable("D", "dtype")) is not None
