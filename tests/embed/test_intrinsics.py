"""What programs for TensorFlow Federated do inside `federated_computation`, done here."""

from __future__ import annotations

import collections
import functools
from typing import Any

import numpy as np
import pytest

import fedlang as fl

FLOATS = fl.FederatedType(np.float32, fl.CLIENTS)
INTS = fl.FederatedType(np.int32, fl.CLIENTS)
SEQUENCES = fl.FederatedType(fl.SequenceType(np.float32), fl.CLIENTS)
METRICS = fl.FederatedType(
    collections.OrderedDict(num_examples=np.float32, loss=np.float32, accuracy=np.float32), fl.CLIENTS
)


@fl.local_computation(np.float32, np.float32)
def add(a: Any, b: Any) -> Any:
    return a + b


@fl.federated_computation
def averaged(metrics: Any) -> Any:
    return {
        "num_examples": fl.federated_sum(metrics.num_examples),
        "loss": fl.federated_mean(metrics.loss, metrics.num_examples),
        "accuracy": fl.federated_mean(metrics.accuracy, metrics.num_examples),
    }


CLIENTS = [
    {"num_examples": 2, "loss": 1.0, "accuracy": 0.5},
    {"num_examples": 6, "loss": 3.0, "accuracy": 1.0},
]


def test_the_greeting() -> None:
    greeting = fl.federated_computation(lambda: "Hello, World!")
    assert greeting() == b"Hello, World!"
    assert greeting.type_signature.to_tff() == "( -> string)"


def test_the_metrics_of_the_tutorial() -> None:
    typed = averaged.typed(METRICS)
    assert typed.type_signature.to_tff() == (
        "({<num_examples=float32,loss=float32,accuracy=float32>}@CLIENTS -> "
        "<accuracy=float32,loss=float32,num_examples=float32>@SERVER)"
    )
    assert typed.type_signature.to_tff(zipped=False).endswith(
        "-> <accuracy=float32@SERVER,loss=float32@SERVER,num_examples=float32@SERVER>)"
    )
    assert typed(CLIENTS).to_tff() == "<accuracy=0.875,loss=2.5,num_examples=8.0>"
    assert typed is averaged.typed(METRICS)


def test_a_function_without_types_inside_another() -> None:
    @fl.federated_computation(METRICS)
    def outer(metrics: Any) -> Any:
        return averaged(metrics)

    assert outer(CLIENTS).to_tff() == "<accuracy=0.875,loss=2.5,num_examples=8.0>"


def test_a_function_without_types_takes_those_of_its_arguments() -> None:
    same = fl.federated_computation(lambda x: x)
    assert same(3) == 3
    assert same({"a": 2.5, "b": (True, "word")}) == {"a": 2.5, "b": (True, b"word")}
    assert same(np.arange(3)).dtype == np.int64
    assert repr(same) == "<computation: a function without types>"
    with pytest.raises(fl.DiagnosticError, match="has no types, and its argument does not say one"):
        same(object())
    with pytest.raises(fl.DiagnosticError, match="too many positional arguments"):
        same(1, 2)


def run(function: Any, *types: Any, **options: Any) -> Any:
    return fl.federated_computation(function, *types, **options)


def test_map() -> None:
    assert list(run(lambda x: fl.federated_map(lambda v: v * 2.0, x), FLOATS)([1, 2])) == [2.0, 4.0]
    server = fl.FederatedType(np.float32, fl.SERVER)
    both = run(lambda x, y: fl.federated_map(add, (x, fl.federated_broadcast(y))), FLOATS, server)
    assert list(both([1, 2], 5)) == [6.0, 7.0]
    zipped = run(lambda x, y: fl.federated_map(add, fl.federated_zip([x, y])), FLOATS, FLOATS)
    assert list(zipped([1, 2], [5, 6])) == [6.0, 8.0]
    named = run(lambda x, y: fl.federated_map(lambda r: r.a - r.b, {"a": x, "b": y}), FLOATS, FLOATS)
    assert list(named([1, 2], [5, 7])) == [-4.0, -5.0]
    assert run(lambda x: fl.federated_apply(lambda v: v + 1.0, x), server)(4) == 5.0


def test_reduce_and_aggregate() -> None:
    assert run(lambda x: fl.federated_reduce(x, 0.0, add), FLOATS)([1, 2, 4]) == 7.0
    assert run(lambda x: fl.federated_reduce(x, 1.0, lambda a, b: a * b), FLOATS)([2, 3]) == 6.0

    @fl.federated_computation(FLOATS)
    def mean(values: Any) -> Any:
        return fl.federated_aggregate(
            values,
            {"n": 0, "sum": 0.0},
            lambda total, value: {"n": total.n + 1, "sum": total.sum + value},
            lambda a, b: {"n": a.n + b.n, "sum": a.sum + b.sum},
            lambda total: total.sum / fl.language.cast(total.n),
        )

    for executor in ("reference", "threaded"):
        with fl.executor(executor):
            assert mean([3, 4, 8]) == 5.0


def test_sums_means_and_extremes() -> None:
    assert run(lambda x: (fl.federated_sum(x), fl.federated_min(x), fl.federated_max(x)), INTS)([3, 9]) == (12, 3, 9)
    assert run(lambda x, w: fl.federated_mean(x, w), FLOATS, INTS)([1, 2], [3, 1]) == 1.25
    assert run(lambda x, w: fl.federated_mean(x, weight=w), FLOATS, FLOATS)([1, 2], [3, 1]) == 1.25
    assert run(lambda x: fl.federated_mean(x), FLOATS)([1, 2]) == 1.5


def test_secure_sums() -> None:
    assert run(lambda x: fl.federated_secure_sum(x, 10), INTS)([3, 4]) == 7
    assert run(lambda x: fl.federated_secure_sum(x, -3, 3), INTS)([-3, 2]) == -1
    assert run(lambda x: fl.federated_secure_sum(x, low=-3, high=3), INTS)([3, 2]) == 5
    three_bits = run(lambda x: fl.federated_secure_sum_bitwidth(x, 3), INTS)
    assert three_bits([7, 7]) == 14
    with pytest.raises(fl.DiagnosticError, match="client 1 sends a value outside 0 to 7"):
        three_bits([7, 8])
    with pytest.raises(fl.DiagnosticError, match="the bit width is 62, not 1 to 31"):
        run(lambda x: fl.federated_secure_sum_bitwidth(x, 62), INTS)


def test_a_dtype_where_arguments_tell_none() -> None:
    assert run(lambda x: fl.federated_mean(fl.language.cast[np.float32](x)), INTS)([1, 2]) == 1.5
    assert repr(fl.language.cast) == "<operation cast>"


def test_values_at_a_place() -> None:
    at_clients = run(lambda: fl.federated_value(10, fl.CLIENTS))
    assert at_clients.type_signature.to_tff() == "( -> int32@CLIENTS)"
    assert at_clients() == 10
    weights = run(lambda: fl.federated_value({"kernel": np.zeros((2, 3)), "step": np.int32(1)}, fl.SERVER))
    assert weights.type_signature.to_tff() == "( -> <kernel=float32[2,3],step=int32>@SERVER)"
    assert weights() == {"kernel": np.zeros((2, 3)), "step": 1}
    assert run(lambda: fl.federated_eval(lambda: fl.to_value(2.0) + 1.0, fl.SERVER))() == 3.0
    with pytest.raises(fl.DiagnosticError, match="'NOWHERE' is no placement"):
        run(lambda: fl.federated_value(1, "NOWHERE"))


def test_sequences() -> None:
    data = [[3, 4], [1.5], []]
    assert run(lambda x: fl.federated_sum(fl.sequence_sum(x)), SEQUENCES)(data) == 8.5
    assert run(lambda x: fl.federated_sum(fl.sequence_reduce(x, 0.0, add)), SEQUENCES)(data) == 8.5
    squares = run(
        lambda x: fl.federated_sum(fl.sequence_reduce(fl.sequence_map(lambda v: v * v, x), 1.0, lambda a, b: a + b)),
        SEQUENCES,
    )
    assert squares(data) == 3 + 9 + 16 + 2.25
    pairs = fl.FederatedType(fl.SequenceType({"a": (np.float32, [2]), "b": np.int32}), fl.CLIENTS)
    total = run(lambda x: fl.federated_sum(fl.sequence_sum(x)), pairs)([[{"a": [1, 2], "b": 3}] * 2, []])
    assert total == {"a": [2.0, 4.0], "b": 6}


def test_collecting_is_said_where_the_program_is_made() -> None:
    assert run(lambda x: fl.federated_collect(x), INTS, allow="collect")([3, 4]) == [3, 4]
    with pytest.raises(fl.DiagnosticError) as caught:
        run(lambda x: fl.federated_collect(x), INTS)
    (found,) = caught.value.diagnostics
    assert found.code == "FED0814"
    assert found.span is not None
    assert found.span.text == "fl.federated_collect(x)"


def test_parts_of_tuples() -> None:
    @fl.federated_computation(fl.FederatedType([np.float32, np.int32], fl.CLIENTS))
    def sums(pair: Any) -> Any:
        first, second = pair
        assert str(second.type_signature) == "<int32>@CLIENTS"
        return fl.federated_sum(first), fl.federated_sum(pair[1]), fl.federated_sum(second)

    assert sums([(1.5, 2), (1, 3)]) == (2.5, 5, 5)
    with pytest.raises(fl.DiagnosticError, match="there is no part 2 of 2"):
        run(lambda pair: pair[2], fl.FederatedType([np.float32, np.int32], fl.CLIENTS))


def test_several_types_and_one_parameter_or_one_type_and_several_parameters() -> None:
    assert fl.local_computation(lambda pair: pair[0] + pair[1], np.int32, np.int32)((1, 2)) == 3
    assert fl.local_computation(lambda a, b: a - b, [np.int32, np.int32])(1, 2) == -1
    assert fl.local_computation(lambda a, b: a - b, collections.OrderedDict(b=np.int32, a=np.int32))(1, 2) == -1


def test_client_values_are_a_list_of_theirs() -> None:
    found = run(lambda x: x + 1, INTS)(list(range(12)))
    assert found == list(range(1, 13))
    assert found != list(range(12))
    assert found == run(lambda x: x + 1, INTS)(list(range(12)))
    assert (found[3], found["11"], len(found)) == (4, 12, 12)


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_fields_whose_names_no_program_can_write(executor: str) -> None:
    weights = collections.OrderedDict([("dense/kernel", (np.float32, [2, 1])), ("dense/bias", (np.float32, [1]))])

    @fl.federated_computation(fl.FederatedType(weights, fl.SERVER), fl.FederatedType(weights, fl.CLIENTS))
    def following(model: Any, local: Any) -> Any:
        mean = fl.federated_mean(local)
        return {"model": model + mean, "kernel/sum": fl.language.reduce_sum(mean["dense/kernel"])}

    assert following.type_signature.to_tff() == (
        "(<<dense/kernel=float32[2,1],dense/bias=float32[1]>@SERVER,"
        "{<dense/kernel=float32[2,1],dense/bias=float32[1]>}@CLIENTS> -> "
        "<kernel/sum=float32,model=<dense/kernel=float32[2,1],dense/bias=float32[1]>>@SERVER)"
    )
    one = {"dense/bias": [1.0], "dense/kernel": [[2.0], [3.0]]}
    with fl.executor(executor):
        found = following(one, [one, one])
    assert found["kernel/sum"] == 5.0
    assert found.model == {"dense/kernel": [[4.0], [6.0]], "dense/bias": [2.0]}
    assert getattr(found.model, "dense/bias") == [2.0]


def test_functions_of_numpy() -> None:
    values = fl.FederatedType((np.float32, [2]), fl.CLIENTS)
    given = [np.array([1.0, 4.0]), np.array([9.0, 0.0])]
    total = run(lambda x: fl.federated_sum(np.ones(2) + np.sqrt(x) * np.float32(2) - abs(-x) ** 2.0), values)(given)
    np.testing.assert_allclose(total, sum(1 + 2 * np.sqrt(x) - x**2 for x in given))
    assert run(lambda x: fl.federated_sum(np.maximum(x, 2)), INTS)([1, 5]) == 7
    assert run(lambda x: fl.federated_sum(2.0**x), FLOATS)([1, 3]) == 10.0
    with pytest.raises(fl.DiagnosticError, match=r"`np.arctan` is none of the language"):
        run(lambda x: np.arctan(x), values)


def test_what_counts_as_a_function() -> None:
    assert list(run(lambda x: fl.federated_map(np.sqrt, x), FLOATS)([4, 9])) == [2.0, 3.0]
    assert list(run(lambda x, y: fl.federated_map(np.maximum, (x, y)), FLOATS, FLOATS)([4, 9], [5, 1])) == [5.0, 9.0]
    assert run(functools.partial(lambda a, x: fl.federated_sum(x * a), 2), INTS)([4, 9]) == 26
    product = functools.partial(lambda k, a, b: k * a * b, 1.0)
    assert run(lambda x: fl.federated_reduce(x, 1.0, product), FLOATS)([4, 9]) == 36.0
    with pytest.raises(fl.DiagnosticError, match="`max` does not say what it takes"):
        run(lambda x: fl.federated_reduce(x, 1.0, max), FLOATS)


def test_parameters_with_defaults_are_constants() -> None:
    scaled = fl.local_computation(lambda x, factor=3: x * factor, np.int32)
    assert scaled(2) == 6
    assert fl.local_computation(lambda x, factor=3: x * factor, np.int32, np.int32)(2, 5) == 10


def test_tensorflow_functions() -> None:
    tf = pytest.importorskip("tensorflow")

    @fl.tf_computation(tf.float32, np.float32)
    def multiply(a: Any, b: Any) -> Any:
        return a * b

    @fl.tf_computation(tf.float32)
    def square(a: Any) -> Any:
        return multiply(a, a)

    @fl.tf_computation
    def more(a: Any) -> Any:
        return a + tf.ones_like(a)

    @fl.tf_computation
    def zero() -> Any:
        return {"a": tf.zeros([2]), "name": tf.constant("z")}

    assert square(3.0) == 9.0
    with pytest.raises(fl.DiagnosticError, match="`more` has no types, and those of its arguments are not known here"):
        run(lambda x: fl.sequence_map(more, x), SEQUENCES)
    assert more(3) == 4
    assert list(run(lambda x: fl.federated_map(more, fl.federated_map(square, x)), FLOATS)([2, 3])) == [5.0, 10.0]
    assert run(lambda x: fl.federated_reduce(x, 1.0, multiply), FLOATS)([2, 3]) == 6.0
    assert run(lambda: fl.federated_value(zero(), fl.SERVER))() == {"a": [0.0, 0.0], "name": b"z"}
    assert run(lambda: fl.federated_eval(zero, fl.SERVER))().name == b"z"


def test_an_iterative_process_in_python() -> None:
    @fl.federated_computation
    def initialize() -> Any:
        return fl.federated_value({"sum": 0, "round": 0}, fl.SERVER)

    @fl.federated_computation(initialize.type_signature.result, INTS)
    def following(state: Any, values: Any) -> Any:
        total = fl.federated_sum(values)
        return {"sum": state.sum + total, "round": state.round + 1}, total

    process = fl.utils.IterativeProcess(initialize, following)
    state = process.initialize()
    for _ in range(3):
        state, total = process.next(state, [1, 2])
    assert (state, total) == ({"sum": 9, "round": 3}, 3)
    assert process.next.type_signature.to_tff() == (
        "(<<round=int32,sum=int32>@SERVER,{int32}@CLIENTS> -> <<round=int32,sum=int32>@SERVER,int32@SERVER>)"
    )


def test_accumulators_of_tensorflow_have_fields() -> None:
    tf = pytest.importorskip("tensorflow")
    totals = collections.OrderedDict(total=np.float32, count=np.int32)

    @fl.tf_computation(totals, np.float32)
    def accumulate(accumulator: Any, value: Any) -> Any:
        assert isinstance(accumulator, dict)
        return collections.OrderedDict(total=accumulator.total + value, count=accumulator[1] + 1)

    @fl.tf_computation(totals, totals)
    def merge(a: Any, b: Any) -> Any:
        return tf.nest.map_structure(tf.add, a, b)

    @fl.tf_computation(totals)
    def report(accumulator: Any) -> Any:
        return accumulator["total"] / tf.cast(accumulator.count, tf.float32)

    zero = collections.OrderedDict(total=0.0, count=0)
    mean = run(lambda x: fl.federated_aggregate(x, zero, accumulate, merge, report), FLOATS)
    for executor in ("reference", "threaded", "batched"):
        with fl.executor(executor):
            assert mean([1, 2, 6]) == 3.0
    with pytest.raises(AttributeError, match="the record has no field `sum`; it has: total, count"):
        fl.tf_computation(lambda accumulator: accumulator.sum, totals)


# ---- mistakes ----


def mistake(function: Any) -> Any:
    with pytest.raises(fl.DiagnosticError) as caught:
        function()
    (found,) = caught.value.diagnostics
    assert found.span is not None
    assert found.span.source.path == __file__
    return found


def test_a_field_that_is_not_there() -> None:
    def make() -> None:
        @fl.federated_computation(METRICS)
        def wrong(metrics: Any) -> Any:
            return fl.federated_sum(metrics.los)

    found = mistake(make)
    assert found.span.text == "metrics.los"
    assert "loss" in found.hint + found.labels[0].text


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda: run(lambda x: None, INTS), "FED0811", "it gives nothing"),
        (lambda: run(lambda x: object(), INTS), "FED0811", "a object cannot be part of a traced program"),
        (lambda: run(lambda x: x + np.zeros(20_000), FLOATS), "FED0811", "an array of 20000 elements"),
        (lambda: run(lambda x: fl.federated_map(3, x), INTS), "FED0804", "its first argument is a int"),
        (lambda: run(lambda x: fl.federated_map(add, (x, x, x)), FLOATS), "FED0804", "takes 2 arguments"),
        (lambda: fl.federated_sum([1]), "FED0804", "inside a traced program"),
        (lambda: averaged.typed(METRICS)(3), "FED0801", "it is int 3, not <{num_examples"),
        (lambda: add(1.0), "FED0804", "`b` not given"),
        (lambda: fl.tf_computation(lambda a: a, "float32*"), "FED0804", "is no type of tensors"),
        (lambda: fl.tf_computation(lambda a, b: a, "float32"), "FED0804", "it has 2 parameters"),
        (lambda: fl.federated_computation(3.5)(4), "FED0804", "a int is no function"),
    ],
)
def test_mistakes_are_told_where_they_are(make: Any, code: str, words: str) -> None:
    found = mistake(make)
    assert found.code == code
    assert any(words in note for note in found.notes)


def test_values_of_one_program_are_not_those_of_another() -> None:
    def make() -> None:
        @fl.federated_computation(INTS)
        def outer(x: Any) -> Any:
            inner = fl.federated_computation(lambda y: fl.federated_sum(x), INTS)
            return inner(x)

    assert mistake(make).hint == "pass it as an argument"


def test_a_type_in_text_is_shown_in_the_python_file() -> None:
    def make() -> None:
        @fl.federated_computation("<float32>@CLIENTS", "flaot32@SERVER")
        def wrong(x: Any, y: Any) -> Any:
            return fl.federated_sum(x)

    found = mistake(make)
    assert found.code == "FED0202"
    assert found.span.text == "flaot32"
