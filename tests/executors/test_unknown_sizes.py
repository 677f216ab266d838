"""Two unknown sizes that meet must turn out to be equal: nothing is stretched that is not known to be 1."""

from __future__ import annotations

import numpy as np
import pytest

import fedlang as fl
from fedlang.run.registry import get_executor
from tests.executors.alone import assert_alone_as_among_others

TEXT = """
fn product_of(a: float32[?], b: float32[?]) -> float32 { reduce_sum(a * b) }
fed g(a: <float32[?]>@CLIENTS, b: <float32[?]>@CLIENTS) -> float32@SERVER { federated_sum(product_of(a, b)) }
"""


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_equal_sizes_meet_and_others_are_errors(executor: str) -> None:
    program = fl.loads(TEXT)
    with fl.executor(executor):
        assert program.g([[1, 2], [3]], [[1, 1], [2]]) == 9.0
        for other in ([1], [1, 2]):
            with pytest.raises(fl.DiagnosticError, match=r"client 0: `reshape` failed"):
                program.g([[1, 2, 3]], [other])


def test_plain_functions_too() -> None:
    with pytest.raises(fl.DiagnosticError, match="`reshape` failed: sizes that must be equal differ"):
        fl.loads(TEXT).product_of([1, 2, 3], [1])


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_a_client_at_fault_is_dropped_alone_where_the_policy_says_so(executor: str) -> None:
    program = fl.loads(TEXT)
    data = ([[1, 2], [1, 2, 3], [5]], [[1, 1], [1, 2], [2]])
    with fl.executor(executor):
        assert program.g.run(data, policy=fl.Policy(drop_failed=True)) == 13.0


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_each_of_two_sizes_must_be_equal(executor: str) -> None:
    """As many numbers are not enough."""
    program = fl.loads(
        """
fn product_of(a: float32[?, ?], b: float32[?, ?]) -> float32 { reduce_sum(a * b) }
fed g(a: <float32[?, ?]>@CLIENTS, b: <float32[?, ?]>@CLIENTS) -> float32@SERVER { federated_sum(product_of(a, b)) }
"""
    )
    rows, columns = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
    with fl.executor(executor):
        assert program.g([rows, columns], [rows, columns]) == 12.0
        with pytest.raises(fl.DiagnosticError, match=r"`reshape` failed: sizes that must be equal differ"):
            program.g([rows], [columns])


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
@pytest.mark.parametrize(
    ("before", "after"), [("6, 2", "4, 3"), ("?, 2, 3, 2", "?, 3, 4, 1"), ("?, 2, 3, 2", "?, 2, 2, 3")]
)
def test_numbers_in_another_shape_of_as_many_axes(executor: str, before: str, after: str) -> None:
    """No size is taken to be the one that stood in its place."""
    before, after, head = (text.replace("?", "n") for text in (before, after, "[n]" if "?" in before else ""))
    program = fl.loads(
        f"""
fn twice{head}(x: float32[{before}]) -> float32[{after}] {{ 2.0 * reshape(x, [{after}]) }}
fed g(x: <float32[{before.replace("n", "?")}]>@CLIENTS) {{ federated_sum(reduce_sum(square(twice(x)))) }}
"""
    )
    x = np.arange(12, dtype=np.float32).reshape([int(size) if size != "n" else 1 for size in before.split(", ")])
    with fl.executor(executor):
        assert program.g([x, x]) == 8 * np.square(x).sum()


STACKED = """
fn stacked(xs: float32[?, 2]*) -> float32 { reduce_sum(stack(xs)) }
fn batched(xs: float32[?, 2]*) -> float32 { fold x in batch(xs, 2) from 0.0 as s { s * 2.0 + reduce_sum(x) } }
fed f(xs: <float32[?, 2]*>@CLIENTS) -> float32@SERVER { federated_sum(NAME(xs)) }
"""


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
@pytest.mark.parametrize("name", ["stacked", "batched"])
def test_elements_that_are_stacked_have_one_size(executor: str, name: str) -> None:
    """No row of another element, or of another client, fills one up."""
    program = fl.loads(STACKED.replace("NAME", name))
    ones = [np.ones((rows, 2), np.float32) for rows in range(5)]
    with fl.executor(executor):
        assert program.f([[ones[2], ones[2]], [ones[3]], []]) == 14.0
        for uneven in ([ones[2], ones[3]], [ones[3], ones[2]], [ones[0], ones[1]]):
            with pytest.raises(fl.DiagnosticError, match=r"FED0603(.|\n)*client 1(.|\n)*cannot be stacked"):
                program.f([[ones[2], ones[2]], uneven, [ones[4]]])
        if name == "batched":
            assert program.f([[ones[2], ones[2], ones[3]]]) == 22.0, "each batch has elements of one size"


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_nothing_is_stacked_where_there_is_no_element(executor: str) -> None:
    """Not even of elements whose size nobody knows then."""
    text = """
fn work(xs: float32[?, 2]*) -> float32 { reduce_sum(stack(map(fn (x) => reduce_sum(x, axis = 1), xs))) }
fed f(xs: <float32[?, 2]*>@CLIENTS) -> float32@SERVER { federated_sum(work(xs)) }
"""
    with fl.executor(executor):
        assert fl.loads(text).f([[np.ones((3, 2), np.float32)] * 2, []]) == 12.0


PLACES: list[tuple[str, dict[str, str]]] = [
    ("reference", {}),
    ("threaded", {}),
    *(("batched", {"strategy": strategy}) for strategy in ("vectorised", "blocks", "sequential")),
]


@pytest.mark.filterwarnings("ignore:clients run one by one")
@pytest.mark.parametrize(("executor", "options"), PLACES)
@pytest.mark.parametrize(
    ("body", "uneven", "found"),
    [
        ("fold e in xs from 0.0 as s { s + reduce_sum(e[1:2]) }", [2, 1], "`slice` failed"),
        ("fold e in xs from 0.0 as s { s + reduce_sum(e[1:]) }", [2, 0], "`slice` failed"),
        (
            "let (_, all) = scan e in xs from 0.0 as s { (s + reduce_sum(e), reduce_sum(e, axis = 1)) }\nreduce_sum(all)",
            [2, 3],
            "`fold` failed",
        ),
    ],
)
def test_padding_is_never_read(
    executor: str, options: dict[str, str], body: str, uneven: list[int], found: str
) -> None:
    """Where a client has too few rows for what is done with them, no other client's number of rows makes up for it."""
    program = fl.loads(f"""
fn work(xs: float32[?, 2]*) -> float32 {{ {body} }}
fed f(xs: <float32[?, 2]*>@CLIENTS) -> <float32>@CLIENTS {{ work(xs) }}
""")
    ones = [np.ones((rows, 2), np.float32) for rows in range(5)]
    whole = [[ones[2]] * 2, [ones[3]] * 3, []]
    wanted = [float(each) for each in program.f(whole)]
    with fl.executor(executor, **options):
        assert [float(each) for each in program.f(whole)] == wanted
        with pytest.raises(fl.DiagnosticError, match=f"client 1: {found}"):
            program.f([[ones[4]] * 3, [ones[rows] for rows in uneven], [ones[2]]])


@pytest.mark.parametrize(
    ("rows", "bounds", "checked"),
    [("?", "0:2", True), ("?", "1:", True), ("?", ":", False), ("5", "1:3", False)],
)
def test_only_bounds_that_may_be_out_of_range_are_checked(rows: str, bounds: str, *, checked: bool) -> None:
    from fedlang.executors.tensorflow.guards import guard_rows

    program = fl.loads(f"""
fn work(x: float32[{rows}, 2]) -> float32 {{ reduce_sum(x[{bounds}]) }}
fed f(x: <float32[{rows}, 2]>@CLIENTS) -> <float32>@CLIENTS {{ work(x) }}
""")
    graph = guard_rows(program.f.program.phases[0].work)
    assert any(node.op == "check" for node in graph.nodes) == checked


@pytest.mark.parametrize(
    "body",
    [
        "reduce_sum(stack(batch(xs, 2)))",
        "reduce_sum(stack(filter(fn (b) => reduce_sum(b) > -100.0, batch(xs, 2))))",
        "reduce_sum(stack(take(batch(xs, 2), 1))) + reduce_sum(stack(skip(batch(xs, 2), 1)))",
        "fold b in batch(batch(xs, 2), 2) from 0.0 as s { s * 0.5 + reduce_sum(b) }",
        "fold b in batch(batch(batch(xs, 2), 2), 2) from 0.0 as s { s * 0.5 + reduce_sum(b) }",
    ],
)
def test_a_batch_that_is_smaller_is_stacked_with_its_like(body: str) -> None:
    """A last batch may be smaller: alone it can be stacked, beside others it cannot, and no row fills it up."""
    program = fl.loads(f"""
fn work(xs: float32[2]*) -> float32 {{ {body} }}
fed f(xs: <float32[2]*>@CLIENTS) -> <float32>@CLIENTS {{ work(xs) }}
""")
    random = np.random.default_rng(0)
    for counts in ((4, 1, 4), (4, 3, 4), (4, 2, 4), (4, 0, 4), (5, 1, 3), (1, 1, 1), (3, 6, 1)):
        clients = [random.integers(-4, 5, (count, 2)).astype(np.float32) for count in counts]
        found = [outcome(program, executor, clients) for executor in ("reference", "threaded", "batched")]
        assert found[1:] == found[:1] * 2, counts


def outcome(program: fl.Package, executor: str, clients: list[np.ndarray]) -> list[float] | str:
    """What each client computes, or which of them could not."""
    with fl.executor(executor):
        try:
            return [float(each) for each in program.f(clients)]
        except fl.DiagnosticError as error:
            return str(error).split(" failed")[0]


LABELLED = """
type Batch = {x: float32[?, 4], y: float32[LABELS]}

fn slope(w: float32[4, 3], b: Batch) -> float32[4, 3] {
  grad(fn (w: float32[4, 3]) => reduce_sum(square(b.x @ w - b.y)))(w)
}

fed f(w: float32[4, 3]@SERVER, data: <Batch*>@CLIENTS) -> <float32[4, 3]>@CLIENTS {
  train(federated_broadcast(w), data)
}

fn train(w: float32[4, 3], data: Batch*) -> float32[4, 3] {
  fold b in data from w as w { w - 0.01 * slope(w, b) }
}
"""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strategy", ["sequential", "vectorised", "blocks"])
@pytest.mark.parametrize("labels", ["?, 3", "?, 1"])
def test_batches_of_arrays_whose_lengths_are_told_apart(labels: str, strategy: str) -> None:
    """As TensorFlow's element specs have them: nothing says that there are as many labels as examples, but a check."""
    text = LABELLED.replace("LABELS", labels)
    program, rng = fl.loads(text), np.random.default_rng(0)
    weights = rng.standard_normal((4, 3)).astype(np.float32)

    def batch(rows: int, more: int = 0) -> dict[str, np.ndarray]:
        columns = 1 if labels == "?, 1" else 3
        x, y = rng.standard_normal((rows, 4)), rng.standard_normal((rows + more, columns))
        return {"x": x.astype(np.float32), "y": y.astype(np.float32)}

    data = {f"c{n}": [batch(min(5, n - k)) for k in range(0, n, 5)] for n in (1, 5, 8, 14)}
    together = assert_alone_as_among_others(program.f, weights, data, strategy, atol=1e-5)
    executor = get_executor("batched", strategy=strategy)
    for more in (1, -2):
        wrong = data | {"wrong": [batch(5), batch(4, more)]}
        with pytest.raises(fl.DiagnosticError, match="client wrong: `reshape` failed"):
            program.f.run((weights, wrong), executor=executor)
        kept = program.f.run((weights, wrong), executor=executor, policy=fl.Policy(drop_failed=True))
        np.testing.assert_array_equal(kept["c8"], together["c8"])
