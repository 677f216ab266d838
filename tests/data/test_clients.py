"""Client data is read when it is asked for, batched by ranges of rows, and checked as it comes in."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fedlang.data import ClientData, ClientSequences, client_sequences
from fedlang.data.clients import _Cut
from fedlang.data.trees import Examples
from fedlang.diagnostics import DiagnosticError
from fedlang.run import clients as run
from fedlang.run.random import identity_of
from fedlang.run.sequences import Array, Elements, Rows, fix, is_fixed


def numbers(count: int, start: int = 0) -> dict[str, Array]:
    y = np.arange(start, start + count, dtype=np.int32)
    return {"x": y[:, None].astype(np.float32) * np.ones(3, np.float32), "y": y}


def rows_of(sequences: object, name: str = "y") -> Rows:
    assert isinstance(sequences, dict)
    rows = sequences[name]
    assert isinstance(rows, Rows)
    return rows


def batches(data: ClientData, client: str, *arguments: int, **options: int) -> list[list[int]]:
    sequence = data.batches(*arguments, **options).sequence(client)
    return [batch.tolist() for batch in rows_of(sequence)]


def test_clients_are_read_only_when_asked_for() -> None:
    asked: list[str] = []

    def read(client: str) -> object:
        asked.append(client)
        return numbers(2)

    data = ClientData.from_function(["a", "b", "c"], read).subset(["c", "a"]).batches(2)
    assert (len(data), data.client_ids, asked) == (2, ("c", "a"), [])
    data.sequence("a")
    assert asked == ["a"]


def test_an_unknown_client_is_offered_the_nearest() -> None:
    data = ClientData.from_dict({"client_01": numbers(1), "client_02": numbers(1)})
    for use in (data.examples, data.count, data.sequence, data.batches(2).sequence, lambda name: data.subset([name])):
        with pytest.raises(DiagnosticError, match=r"no client `cleint_02`(.|\n)*did you mean `client_02`"):
            use("cleint_02")


def test_a_client_can_not_be_there_twice() -> None:
    with pytest.raises(DiagnosticError, match="FED0620"):
        ClientData.from_function(["a", "b", "a"], lambda _: numbers(1))
    with pytest.raises(DiagnosticError, match="FED0620"):
        ClientData.from_list([numbers(1)]).subset(["0", "0"])


def test_the_last_batch_is_smaller_and_can_be_dropped() -> None:
    data = ClientData.from_list([numbers(5)])
    assert batches(data, "0", 2) == [[0, 1], [2, 3], [4]]
    assert batches(data, "0", 2, drop_last=True) == [[0, 1], [2, 3]]
    assert batches(data, "0", 9) == [[0, 1, 2, 3, 4]]
    assert batches(data, "0", 9, drop_last=True) == []


def test_epochs_follow_each_other_and_no_batch_spans_two() -> None:
    data = ClientData.from_list([numbers(3)])
    assert batches(data, "0", 2, 2) == [[0, 1], [2], [0, 1], [2]]
    assert batches(data, "0", 2, 2, drop_last=True) == [[0, 1], [0, 1]]


def test_a_client_without_examples_has_no_batches() -> None:
    data = ClientData.from_list([numbers(0)])
    assert batches(data, "0", 4, 3) == []
    assert batches(data, "0", 4, 3, shuffle_seed=1) == []


def test_one_epoch_in_order_copies_nothing() -> None:
    examples = {name: fix(array.copy()) for name, array in numbers(5).items()}
    sequence = ClientData.from_list([examples]).batches(2).sequence("0")
    assert np.shares_memory(rows_of(sequence, "x").rows, examples["x"])
    assert rows_of(sequence, "x").splits is rows_of(sequence, "y").splits


def test_batches_of_examples_that_stay_are_the_same_ones() -> None:
    data = ClientData.from_list([numbers(5)]).batches(2)
    first, second, third = (rows_of(data.sequence("0"), "x") for _ in range(3))
    assert first is not second
    assert second is third


def test_nothing_is_kept_of_examples_made_anew() -> None:
    made: list[weakref.ref[Array]] = []

    def examples(client: str) -> dict[str, Array]:
        found = numbers(5)
        made.extend(weakref.ref(leaf) for leaf in found.values())
        return found

    cut = ClientData.from_function(["0", "1"], examples).batches(2).reader
    assert isinstance(cut, _Cut)
    for client in ("0", "1") * 3:
        cut(client)
    gc.collect()
    assert all(leaf() is None for leaf in made)
    assert not cut._seen, "not even that the client was there"


@pytest.mark.parametrize("change", ["another array", "another name"])
def test_batches_are_made_anew_where_one_of_several_arrays_is_another(change: str) -> None:
    x, y, z = (fix(np.full(4, value, np.float32)) for value in (1.0, 2.0, 3.0))
    given: dict[str, Array] = {"x": x, "y": y}
    batches = ClientData.from_function(["a"], lambda _: given).batches(2)
    for _ in range(3):
        kept = batches.sequence("a")
    given = {"x": x, "y": z} if change == "another array" else {"x": x, "z": y}
    found = batches.sequence("a")
    assert isinstance(found, dict)
    assert found is not kept
    assert list(found) == list(given)
    assert found[list(given)[1]][0][0] == (3.0 if change == "another array" else 2.0)


def test_a_shuffle_depends_on_seed_client_and_epoch_only() -> None:
    data = ClientData.from_dict({"a": numbers(40), "b": numbers(40)})
    first = batches(data, "a", 40, 2, shuffle_seed=0)
    assert first == batches(data.subset(["b", "a"]), "a", 40, 2, shuffle_seed=0)
    assert [sorted(epoch) for epoch in first] == [list(range(40))] * 2
    others = [batches(data, "b", 40, shuffle_seed=0), batches(data, "a", 40, shuffle_seed=1), [first[1]]]
    assert all(other[0] != first[0] for other in others)


def test_a_shuffle_is_that_of_the_first_words_of_a_stream_from_any_thread() -> None:
    counts = {client: 5 + 7 * k for k, client in enumerate("abcdefg")}
    data = ClientData.from_dict({client: numbers(count) for client, count in counts.items()})

    def wanted(client: str, seed: int, epoch: int) -> list[int]:
        key = np.array([seed % 2**64, identity_of(client)], np.uint64)
        words = np.random.Philox(key=key, counter=[0, epoch, 0, 0]).random_raw(counts[client])
        return np.argsort(words, kind="stable").tolist()

    def found(seed: int) -> bool:
        return all(
            batches(data, client, 50, 3, shuffle_seed=seed) == [wanted(client, seed, epoch) for epoch in range(3)]
            for client in counts
        )

    seeds = [0, 1, -1, 2**63, *range(2, 40)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(found, seeds))


@pytest.mark.parametrize(("seed", "epochs", "drop_last"), [(None, 2, True), (3, 1, True), (3, 1, False), (3, 2, True)])
def test_nobody_can_change_what_says_which_examples_a_batch_has(
    *, seed: int | None, epochs: int, drop_last: bool
) -> None:
    data = ClientData.from_list([numbers(10)])
    rows = rows_of(data.batches(4, epochs, seed, drop_last=drop_last).sequence("0"))
    assert rows.splits is not None
    assert rows.order is not None
    assert is_fixed(rows.splits)
    assert is_fixed(rows.order)


@pytest.mark.parametrize(("epochs", "seed", "drop_last"), [(1, None, True), (3, None, False), (2, 5, True)])
def test_no_example_is_copied_into_a_batch(*, epochs: int, seed: int | None, drop_last: bool) -> None:
    data = ClientData.from_list([numbers(30)])
    sequence, examples = data.batches(7, epochs, seed, drop_last=drop_last).sequence("0"), data.examples("0")
    assert isinstance(sequence, dict)
    assert isinstance(examples, dict)
    assert all(isinstance(leaf, Rows) and leaf.rows is examples[name] for name, leaf in sequence.items())
    assert [len(batch) for batch in sequence["x"]] == [7, 7, 7, 7, *([] if drop_last else [2])] * epochs


def test_leaves_are_shuffled_together() -> None:
    sequence = ClientData.from_list([numbers(30)]).batches(7, 2, 3).sequence("0")
    for x, y in zip(rows_of(sequence, "x"), rows_of(sequence, "y"), strict=True):
        assert (x[:, 0] == y).all()


@pytest.mark.parametrize(("size", "epochs"), [(0, 1), (-1, 1), (1, 0)])
def test_sizes_and_epochs_are_positive(size: int, epochs: int) -> None:
    with pytest.raises(DiagnosticError, match="FED0709"):
        ClientData.from_list([numbers(3)]).batches(size, epochs)


def test_map_is_applied_when_read() -> None:
    def labels(examples: Examples) -> object:
        assert isinstance(examples, dict)
        return {"label": examples["y"]}

    data = ClientData.from_list([numbers(2), numbers(1, 5)]).map(labels)
    joined = data.concatenate()
    assert isinstance(joined, dict)
    assert (list(joined), np.asarray(joined["label"]).tolist()) == (["label"], [0, 1, 5])


def test_joining_needs_clients_of_equal_fields() -> None:
    with pytest.raises(DiagnosticError, match="FED0711"):
        ClientData.from_list([]).concatenate()
    with pytest.raises(DiagnosticError, match=r"client b have other fields than those of client a(.|\n)*`\.x`"):
        ClientData.from_dict({"a": numbers(1), "b": {"x": [1.0]}}).concatenate()


def generator() -> Iterator[object]:
    yield from ({"x": np.float32(index), "y": (index, [index, 2.0])} for index in range(3))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1.0, 2.0], np.array([1.0, 2.0])),
        (np.arange(4), np.arange(4)),
        ([np.zeros(2), np.ones(2)], np.array([[0.0, 0.0], [1.0, 1.0]])),
        (["a", b"b"], np.array(["a", "b"], object)),
    ],
)
def test_examples_may_come_as_arrays_or_lists(given: object, expected: Array) -> None:
    examples = ClientData.from_list([given]).examples("0")
    assert isinstance(examples, np.ndarray)
    assert examples.dtype == expected.dtype
    np.testing.assert_array_equal(examples, expected)


def test_generators_are_read_once_and_kept() -> None:
    data = ClientData.from_list([generator()])
    for _ in range(2):
        examples = data.examples("0")
        assert isinstance(examples, dict)
        assert isinstance(examples["y"], tuple)
        np.testing.assert_array_equal(np.asarray(examples["y"][1]), [[0, 2], [1, 2], [2, 2]])


BAD: list[tuple[str, str, Callable[[], object]]] = [
    ("FED0702", r"3 examples in `\.x` and 2 in `\.y`", lambda: {"x": np.zeros((3, 2)), "y": np.zeros(2)}),
    ("FED0703", r"single value in `\.y`", lambda: {"x": np.zeros(3), "y": 1}),
    ("FED0704", "no elements", list),
    ("FED0704", "no elements", dict),
    ("FED0704", "no elements", lambda: {"x": ()}),
    ("FED0705", r"object \(rows of different shapes\) in `\.x`", lambda: {"x": [[1, 2], [3]]}),
    ("FED0705", r"object \(int\)", lambda: np.array([1, "a"], object)),
    ("FED0705", "datetime64", lambda: np.array(["2020-01-01"], "datetime64[D]")),
    ("FED0706", r"element 1 has other fields(.|\n)*`\.b`", lambda: [{"a": 1}, {"b": 1}]),
    ("FED0707", r"examples 0 and 1 have different shapes", lambda: [np.zeros(2), np.zeros(3)]),
    ("FED0708", "type NoneType", lambda: None),
    ("FED0708", "type set", lambda: {1, 2}),
]


@pytest.mark.parametrize(("code", "message", "make"), BAD)
def test_what_is_wrong_is_said_with_client_and_leaf(code: str, message: str, make: Callable[[], object]) -> None:
    with pytest.raises(DiagnosticError, match=rf"{code}.*client ann(.|\n)*") as caught:
        ClientData.from_dict({"ann": make()}).examples("ann")
    assert caught.match(message)


def test_lists_of_batches_become_rows_and_splits() -> None:
    given = {"a": [numbers(3), numbers(1, 3)], "b": iter([numbers(2)])}
    sequences = client_sequences(given, batched=True)
    assert [batch.tolist() for batch in rows_of(sequences.sequence("a"))] == [[0, 1, 2], [3]]
    assert rows_of(sequences.sequence("b"), "x").rows.shape == (2, 3)
    assert len(rows_of(sequences.sequence("b"))) == 1


def test_batches_unequal_in_other_axes_are_kept_one_by_one() -> None:
    sequence = client_sequences([[np.zeros((1, 2)), np.zeros((1, 3))]], batched=True).sequence("0")
    assert isinstance(sequence, Elements)


def test_what_users_hand_in_becomes_sequences() -> None:
    data = ClientData.from_list([numbers(2)])
    made = data.batches(1)
    assert client_sequences(made) is made
    for given in (data, [numbers(2)], (numbers(2),), {"0": numbers(2)}, {0: numbers(2)}):
        sequences = client_sequences(given)
        assert isinstance(sequences, ClientSequences)
        assert sequences.client_ids == ("0",)
        assert [int(y) for y in rows_of(sequences.sequence("0"))] == [0, 1]
    with pytest.raises(DiagnosticError, match="FED0713"):
        client_sequences(3)
    with pytest.raises(DiagnosticError, match="FED0708"):
        client_sequences([numbers(2)], batched=True)


def test_a_run_takes_client_data_as_it_is() -> None:
    data = ClientData.from_list([numbers(2)])
    for given in (data, data.batches(1)):
        assert isinstance(given, run.ClientData)
        assert len(rows_of(run.clients_of(given).client("0"))) == 2


SUM = """
type Example = {x: float32[3], y: int32}

fn add(batches: Example[?]*) -> float32 {
  fold batch in batches from 0.0 as sum { sum + reduce_sum(batch.x) }
}

fed total(data: <Example[?]*>@CLIENTS) -> float32@SERVER { federated_sum(federated_map(add, data)) }
"""


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
@pytest.mark.parametrize("make", ["from_list", "from_function", "plain"])
def test_a_round_sees_arrays_as_they_are_or_as_they_were_read(executor: str, make: str) -> None:
    """Arrays of a function may change between rounds; those given at once were copied, and plain lists are read anew."""
    import fedlang as fl

    sum_up = fl.loads(SUM).total
    given = numbers(4)
    clients = {
        "from_list": lambda: ClientData.from_list([given]).batches(3),
        "from_function": lambda: ClientData.from_function(["0"], lambda _: given).batches(3),
        "plain": lambda: [[given]],
    }[make]()
    found = []
    for _ in range(4):  # what is met again and again is kept
        found.append(float(sum_up.run((clients,), executor=executor)))
        given["x"] += np.float32(1)
    assert found == ([18.0] * 4 if make == "from_list" else [18.0, 30.0, 42.0, 54.0])
    assert given["x"].flags.writeable, "they are the user's still"


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
@pytest.mark.parametrize(("sizes", "found"), [((5, 4), "[3, 4]"), ((5,), "[3]"), ((5, 3, 1), "[3, 3, 1]")])
def test_data_of_other_sizes_are_refused_when_they_are_read(executor: str, sizes: tuple[int, ...], found: str) -> None:
    import fedlang as fl

    bad = {"x": np.ones(sizes, np.float32), "y": np.zeros(5, np.int32)}
    clients = ClientData.from_dict({"a": numbers(5), "b": bad}).batches(3)
    with pytest.raises(DiagnosticError) as caught:
        fl.loads(SUM).total.run((clients,), executor=executor)
    assert str(caught.value) == (
        "error[FED0801]: client b: `data.x` does not fit its type\n"
        f"  = note: it is of shape {found}, not float32[?, 3]\n  = note: at client `b`"
    )
    policy = fl.Policy(drop_failed=True)
    assert float(fl.loads(SUM).total.run((clients,), executor=executor, policy=policy)) == 30


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_data_of_another_dtype_are_converted_where_nothing_is_lost(executor: str) -> None:
    import fedlang as fl

    total = fl.loads(SUM).total
    wide = {"x": np.full((4, 3), 0.5), "y": np.arange(4)}
    clients = ClientData.from_dict({"a": wide, "none": {"x": np.zeros((0, 3)), "y": np.zeros(0, np.int64)}}).batches(3)
    assert float(total.run((clients,), executor=executor)) == 6
    halves = ClientData.from_dict({"a": {"x": wide["x"], "y": np.full(4, 0.5)}}).batches(3)
    with pytest.raises(DiagnosticError, match=r"`data.y` does not fit its type"):
        total.run((halves,), executor=executor)


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
@pytest.mark.parametrize("count", [0, 6, 7, 8, 2])
def test_a_last_batch_that_is_shorter_is_refused_where_the_type_gives_its_size(executor: str, count: int) -> None:
    import fedlang as fl

    program = fl.loads(
        "fn add(rows: float32[3]*) -> float32 { fold x in rows from 0.0 as sum { sum + reduce_sum(x) } }\n"
        "fed total(data: <float32[3]*>@CLIENTS) -> float32@SERVER { federated_sum(add(data)) }\n"
    )
    own = {"a": np.ones(count, np.float32), "b": np.ones(6, np.float32)}
    batches = ClientData.from_dict(own).batches(3)
    if count % 3 == 0:
        assert float(program.total.run((batches,), executor=executor)) == count + 6
        return
    with pytest.raises(DiagnosticError, match=rf"of shape \[{count % 3}\], not float32\[3\]"):
        program.total.run((batches,), executor=executor)
