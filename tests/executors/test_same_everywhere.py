"""What once ran on some executors only, or on none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl

EXECUTORS = ("reference", "threaded", "batched")

PRINTS = """
fn sum_of(xs: float32[3]) -> float32 {
  fold x in xs from 0.0 as sum {
    print("so far {}", sum)
    sum + x
  }
}

fn size_of(x: float32) -> float32 {
  if x < 0.0 {
    print("turned {}", x)
    -x
  } else { x }
}

fed sums(x: <float32[3]>@CLIENTS) -> float32@SERVER { federated_sum(sum_of(x)) }

fed sizes(x: <float32>@CLIENTS) -> float32@SERVER { federated_sum(size_of(x)) }
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_print_may_stand_in_a_loop_and_in_a_choice(executor: str, capsys: Any) -> None:
    program = fl.loads(PRINTS)
    with fl.executor(executor):
        assert program.sums([[1, 2, 3], [4, 5, 6]]) == 21.0
        assert capsys.readouterr().out == "so far 0.0\nso far 1.0\nso far 3.0\nso far 0.0\nso far 4.0\nso far 9.0\n"
        assert program.sizes([1.0, -2.0]) == 3.0
        assert capsys.readouterr().out == "turned -2.0\n"
    assert program.sum_of([1, 2, 3]) == 6.0
    assert capsys.readouterr().out == "so far 0.0\nso far 1.0\nso far 3.0\n"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_work_may_be_the_same_at_every_client(executor: str) -> None:
    program = fl.loads(
        "fed f(w: float32@SERVER, x: <float32>@CLIENTS) -> float32@SERVER { federated_mean(federated_broadcast(w)) }"
    )
    with fl.executor(executor):
        assert program.f(2.5, [1.0, 3.0]) == 2.5


DISTRIBUTED = """
fn sums[t, n](xs: float64[t, n, 2], ys: float64[t, n, 2]) -> float64[2, 2] {
  fold e in {x: xs, y: ys} from zeros[float64[2, 2]]() as c { c + transpose(e.x, [1, 0]) @ e.y }
}

fn of_unknown(xs: float64[?, ?, 2], ys: float64[?, ?, 2]) -> float64[2, 2] { sums(xs, ys) }

fn told[t, n](c: float32[n, 90], xs: float32[t, 2, 90]) -> float32[n, 90] {
  fold x in xs from c as now { now + (zeros[float32[n, 2]]() + 0.5) @ x }
}

fed telling(c: <float32[?, 90]>@CLIENTS, xs: <float32[?, 2, 90]>@CLIENTS) -> float32@SERVER {
  federated_sum(reduce_sum(told(c, xs)))
}
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_loops_whose_products_are_moved_check_and_tell_sizes(executor: str) -> None:
    program = fl.loads(DISTRIBUTED)
    with fl.executor(executor):
        np.testing.assert_array_equal(program.of_unknown(np.ones((2, 6, 2)), np.ones((2, 6, 2))), np.full((2, 2), 12.0))
        with pytest.raises(fl.DiagnosticError, match="sequences of 2 and 3 elements go together"):
            program.of_unknown(np.ones((2, 6, 2)), np.ones((3, 4, 2)))
        found = program.telling([np.zeros((3, 90)), np.ones((1, 90))], [np.ones((2, 2, 90)), np.ones((4, 2, 90))])
        assert found == 3 * 90 * 2 + 90 * 5


@pytest.mark.parametrize("executor", EXECUTORS)
def test_remainders_of_half_floats(executor: str) -> None:
    program = fl.loads(
        "fn work(x: float16[4]) -> {r: float16[4], q: float16[4]} { {r: x % 0.75, q: x // 0.75} }\n"
        "fed f(x: <float16[4]>@CLIENTS) -> <{r: float16[4], q: float16[4]}>@CLIENTS { work(x) }"
    )
    x = np.array([1.0, -1.0, 2.25, -7.5], np.float16)
    with fl.executor(executor):
        (found,) = program.f([x])
    np.testing.assert_array_equal(found.r, x % np.float16(0.75))
    np.testing.assert_array_equal(found.q, x // np.float16(0.75))


POOLED = """
type Layer = {kernel: float32[2, 2, 1, 2], bias: float32[2]}

fn slope(w: Layer, x: float32[2, 4, 4, 1]) -> Layer {
  grad(fn (w: Layer) => reduce_sum(square(max_pool(relu(conv2d(x, w.kernel) + w.bias), 2))))(w)
}

fed at_clients(w: Layer@SERVER, x: <float32[2, 4, 4, 1]>@CLIENTS) -> Layer@SERVER {
  federated_mean(slope(federated_broadcast(w), x))
}

fed at_server(w: Layer@SERVER, x: float32[2, 4, 4, 1]@SERVER) -> Layer@SERVER { slope(w, x) }
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_layer_that_is_cut_off_and_pooled_has_a_derivative_at_either_place(executor: str) -> None:
    program, random = fl.loads(POOLED), np.random.default_rng(0)
    layer = {"kernel": random.standard_normal((2, 2, 1, 2)).astype(np.float32), "bias": np.float32([0.1, -0.1])}
    image = random.standard_normal((2, 4, 4, 1)).astype(np.float32)
    with fl.executor(executor):
        found, expected = program.at_clients(layer, [image]), program.at_server(layer, image)
    np.testing.assert_allclose(found.kernel, expected.kernel, rtol=1e-5)
    np.testing.assert_allclose(found.bias, expected.bias, rtol=1e-5)


EQUAL_LOOPS = """
fn chosen(i: int32*, j: int32*) -> int32 {
  let a = fold e in i from 0 as now { now + gather([5, 6, 7, 8], e) }
  let b = fold e in j from 0 as now { now + gather([5, 6, 7, 8], e) }
  10 * a + b
}

fed f(x: <{i: int32*, j: int32*}>@CLIENTS) -> <int32>@CLIENTS { chosen(x.i, x.j) }
"""


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("strategy", ["vectorised", "blocks", "sequential", "threaded", "reference"])
def test_a_check_holds_in_each_of_equal_loops(strategy: str, *, again: bool) -> None:
    """Also where an equal program was run before."""
    given = [{"i": [0], "j": [9]}]
    name, options = (strategy, {}) if strategy in EXECUTORS else ("batched", {"strategy": strategy})
    with fl.executor(name, **options):
        if again:
            assert fl.loads("\n" + EQUAL_LOOPS).f([{"i": [0], "j": [1]}]) == [56]
        with pytest.raises(fl.DiagnosticError, match="index"):
            fl.loads(EQUAL_LOOPS).f(given)


JOINED = """
fn of_both[n, m](a: float32[2, n], b: float32[2, m]) -> float32 {
  let c = transpose(concat(transpose(a, [1, 0]), transpose(b, [1, 0])), [1, 0])
  fold r in c from 0.0 as s { s + reduce_sum(r) + 10.0 * reduce_sum(ones[float32[n]]()) + reduce_sum(ones[float32[m]]()) }
}

fn work(v: {a: float32[2, ?], b: float32[2, ?]}) -> float32 { of_both(v.a, v.b) }

fed f(x: <{a: float32[2, ?], b: float32[2, ?]}>@CLIENTS) -> <float32>@CLIENTS { work(x) }
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_loop_knows_the_sizes_that_its_rows_do_not_tell(executor: str) -> None:
    with fl.executor(executor):
        found = fl.loads(JOINED).f([{"a": np.ones((2, 3)), "b": np.ones((2, 1))}, {"a": [[1], [1]], "b": [[2], [2]]}])
    assert found == [2 * (4 + 30 + 1), 2 * (3 + 10 + 1)]


SHARED_SIZES = """
type Batch[n] = {x: float32[n, 2], y: float32[n]}

fn total[n](b: Batch[n]) -> float32 { reduce_sum(b.x) + reduce_sum(b.y) }

fed of_batch(b: <Batch[?]>@CLIENTS) -> <float32>@CLIENTS { total(b) }

fed of_batches(b: <Batch[?]*>@CLIENTS) -> <float32>@CLIENTS { added(b) }

fn added(b: Batch[?]*) -> float32 { fold each in b from 0.0 as now { now + total(each) } }
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_fields_that_share_a_size_must_have_it(executor: str) -> None:
    program = fl.loads(SHARED_SIZES)
    good, bad = ({"x": np.ones((3, 2)), "y": np.ones(count)} for count in (3, 2))
    with fl.executor(executor):
        assert program.of_batch([good]) == [9.0]
        assert program.of_batches([[good, good]]) == [18.0]
        with pytest.raises(fl.DiagnosticError, match=r"client 1: `n` is 3 in `b\.x` and 2 in `b\.y`"):
            program.of_batch([good, bad])
        with pytest.raises(fl.DiagnosticError, match=r"client 0: `n` is 3 in `b\.x\[1\]` and 2 in `b\.y\[1\]`"):
            program.of_batches([[good, bad]])


UNEVEN = """
type Own[n] = {w: float32[n], rows: float32[n]*}

fn dotted[n](own: Own[n]) -> float32 { fold row in own.rows from 0.0 as now { now + reduce_sum(row * own.w) } }

fed of_own_sizes(own: <Own[?]>@CLIENTS) -> <float32>@CLIENTS { dotted(own) }

fn added(rows: float32[2, ?]*) -> float32 { fold row in rows from 0.0 as now { now + reduce_sum(row) } }

fed of_elements(rows: <float32[2, ?]*>@CLIENTS) -> <float32>@CLIENTS { added(rows) }
"""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_rows_may_have_sizes_of_their_own(executor: str) -> None:
    program = fl.loads(UNEVEN)

    def own(size: int, count: int) -> dict[str, Any]:
        return {"w": np.arange(size), "rows": [np.full(size, k + 1.0) for k in range(count)]}

    with fl.executor(executor):
        for _ in range(2):
            assert program.of_own_sizes([own(2, 3), own(3, 2), own(4, 0), own(2, 1)]) == [6, 9, 0, 1]
            assert program.of_own_sizes([own(5, 1), own(5, 2)]) == [10, 30]
        given = [[np.ones((2, 3)), np.ones((2, 1))], [np.ones((2, 3))], [], [np.ones((2, 4))]]
        assert program.of_elements(given) == [8, 6, 0, 8]


@pytest.mark.parametrize("executor", ["threaded", "batched"])
def test_rows_of_other_sizes_than_the_last_round_are_taken_without_a_word(executor: str, recwarn: Any) -> None:
    program = fl.loads(UNEVEN)
    with fl.executor(executor):
        for size in (2, 3, 2):
            rows = [[np.ones((2, size))] * 2] * 3
            assert program.of_elements(rows) == [4 * size] * 3
    assert not [each for each in recwarn if "reference" in str(each.message)]
