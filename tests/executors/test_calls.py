"""A program called through a session and as a function: the same bits in any thread, feeds left as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedlang.executors.batched import BatchedExecutor, executor
from fedlang.executors.tensorflow import calls, memory, store
from fedlang.executors.tensorflow.calls import Traced
from fedlang.executors.tensorflow.memory import feed_of
from fedlang.executors.tensorflow.start import tf
from tests.executors.training import data_of, tasks_of, training_graph, weights_of

VARIES = (False, False, True, True)
RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((6, 12, 12, 3)).astype(np.float32)
KERNEL = RANDOM.standard_normal((3, 3, 3, 8)).astype(np.float32)
BIAS = RANDOM.standard_normal(8).astype(np.float32)


def network(x: Any, kernel: Any, bias: Any) -> list[Any]:
    """A loop of convolutions with a bias, whose operations TensorFlow makes one of where it knows their shapes."""

    def step(k: Any, kernel: Any) -> tuple[Any, Any]:
        y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
        dy = tf.exp(-y) * y
        return k + 1, kernel - 0.01 * tf.raw_ops.Conv2DBackpropFilter(
            input=x, filter_sizes=tf.shape(kernel), out_backprop=dy, strides=[1, 1, 1, 1], padding="VALID"
        )

    _, found = tf.while_loop(lambda k, _: k < 5, step, (tf.constant(0), kernel))
    return [found, tf.nn.log_softmax(tf.reduce_sum(found, [0, 1]))]


def traced() -> Traced:
    shapes = ([None, 12, 12, 3], [3, 3, 3, 8], [8])
    return Traced(network, [tf.TensorSpec(shape, tf.float32) for shape in shapes])


def bits(results: list[NDArray[Any]]) -> list[bytes]:
    return [result.tobytes() for result in results]


def test_a_session_and_a_function_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    program = traced()
    once = bits(program(X, KERNEL, BIAS, spread=False))
    assert bits(program(X, KERNEL, BIAS, spread=True)) == once
    assert program.traces() == 1
    monkeypatch.setattr(Traced, "_suits_session", lambda _: False)
    assert bits(traced()(X, KERNEL, BIAS, spread=False)) == once


@pytest.mark.parametrize("suits", [True, False], ids=["session", "function"])
def test_no_arithmetic_is_rewritten(monkeypatch: pytest.MonkeyPatch, suits: bool) -> None:
    monkeypatch.setattr(Traced, "_suits_session", lambda _: suits)
    magic, three, seven = (np.float32(number) for number in (12582912.0, 3.3, 7.1))

    def written(a: Any, b: Any) -> list[Any]:
        quotients = [a / three, three / a, np.float32(1) / a, a / three / seven, a * three / seven]
        return [*quotients, (a + magic) - magic, a * three * seven, three - (a - seven), ((a + b) + a) + (a - b)]

    a, b = RANDOM.uniform(0.1, 9, (2, 801)).astype(np.float32)
    wanted = [*written(a, b), a / np.sqrt(b), a * (np.float32(1) / np.sqrt(b))]
    for shape in ([None], [801]):
        specs = [tf.TensorSpec(shape, tf.float32)] * 2
        program = Traced(lambda a, b: [*written(a, b), a / tf.sqrt(b), a * (np.float32(1) / tf.sqrt(b))], specs)
        for found, want in zip(program(a, b, spread=False), wanted, strict=True):
            np.testing.assert_array_equal(found, want)


def test_many_threads_give_the_bits_of_one() -> None:
    program = traced()
    own = [RANDOM.standard_normal((n, 12, 12, 3)).astype(np.float32) for n in range(1, 9)]
    call = partial(program, spread=False)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: bits(call(x, KERNEL, BIAS)), own))
    assert together == [bits(call(x, KERNEL, BIAS)) for x in own]


@pytest.mark.parametrize("spread", [False, True])
def test_nothing_is_written_where_feeds_lie(spread: bool) -> None:
    program = Traced(lambda x: [x + 1.0, tf.nn.relu(x) * x], [tf.TensorSpec([None], tf.float32)])
    feed = feed_of(np.arange(-500, 500, dtype=np.float32))
    before, tensor = feed.copy(), tf.constant(feed)
    for given in (feed, tensor, feed[1:]):
        more, _ = program(given, spread=spread)
        np.testing.assert_array_equal(more, np.asarray(given) + 1)
    np.testing.assert_array_equal(feed, before)
    np.testing.assert_array_equal(tensor.numpy(), before)


def test_feeds_are_copied_at_most_once() -> None:
    odd = np.zeros(1025, np.float32)[1:]
    aligned = feed_of(odd)
    np.testing.assert_array_equal(aligned, odd)
    assert feed_of(aligned) is aligned or np.shares_memory(feed_of(aligned), aligned)


def test_a_program_that_holds_a_variable_reads_what_it_is_now() -> None:
    held = tf.Variable(2.0)
    program = Traced(lambda x: [x * held], [tf.TensorSpec([], tf.float32)])
    assert program(np.float32(3.0), spread=False)[0] == 6
    held.assign(5.0)
    assert program(np.float32(3.0), spread=False)[0] == 15


def test_a_program_that_holds_a_constant_is_called_with_it() -> None:
    held = tf.constant([1.0, 2.0])
    program = Traced(lambda x: [x * held], [tf.TensorSpec([2], tf.float32)])
    np.testing.assert_array_equal(program(np.ones(2, np.float32), spread=False)[0], [1, 2])


def test_errors_are_tensorflows_own() -> None:
    program = Traced(lambda k: [tf.gather([1, 2], k)], [tf.TensorSpec([], tf.int32)])
    for spread in (False, True):
        with pytest.raises(tf.errors.InvalidArgumentError):
            program(np.int32(7), spread=spread)


def test_the_end_of_python_is_quiet() -> None:
    source = (
        "import numpy as np\nfrom fedlang.executors.tensorflow.calls import Traced\n"
        "from fedlang.executors.tensorflow.start import tf\n"
        "program = Traced(lambda x: [x + 1.0], [tf.TensorSpec([], tf.float32)])\n"
        "print(program(np.float32(1), spread=False))\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


SLOPE = """
import fedlang
import numpy as np
import tensorflow as tf

before = {before}
if before:
    tf.config.threading.set_intra_op_parallelism_threads(4)
    tf.random.normal([512, 512]) @ tf.random.normal([512, 512])

from fedlang.executors.tensorflow.calls import Traced

images, slopes = (np.random.default_rng(k).standard_normal((32, 24, 24, 16)).astype(np.float32) for k in range(2))
program = Traced(
    lambda x, dy: [tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=[3, 3, 16, 16], out_backprop=dy, strides=[1, 1, 1, 1], padding="SAME"
    )],
    [tf.TensorSpec([32, 24, 24, 16], tf.float32)] * 2,
)
print(program(images, slopes, spread=False)[0].tobytes().hex())
"""


def test_a_model_that_was_built_before_changes_no_bits() -> None:
    """TensorFlow keeps the threads it was started with; two inside this operation give it other bits."""
    found = [
        subprocess.run([sys.executable, "-c", SLOPE.format(before=before)], capture_output=True, text=True, check=True)
        for before in (False, True)
    ]
    assert found[0].stdout == found[1].stdout
    assert found[0].stdout


def test_where_there_is_a_gpu_the_same_work_is_called_as_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one: what is checked is that this way through the code gives the same results."""

    def run() -> list[list[bytes]]:
        work = BatchedExecutor(strategy="vectorised").compile_work(training_graph((8, 3), 4), VARIES)
        tasks = tasks_of(data_of([5, 9, 0, 4], 8, 3))
        return [[np.asarray(each).tobytes() for each in chunk.results] for chunk in work.run(weights_of((8, 3)), tasks)]

    expected = run()
    for module in (calls, memory, executor, store):
        monkeypatch.setattr(module, "has_gpu", lambda: True)
    monkeypatch.setattr(Traced, "_in_session", lambda *_: pytest.fail("a session has no place for a GPU"))
    assert run() == expected


ORDER = """
import {}
import {}
import warnings
from tensorflow.python.util._pywrap_util_port import IsMklEnabled

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    from fedlang.executors.tensorflow import start
found = ["imported before fedlang" in str(each.message) for each in said if each.category is RuntimeWarning]
print(IsMklEnabled(), any(found))
"""


def test_it_is_said_where_tensorflow_came_too_early_to_be_fast() -> None:
    own = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}

    def run(*order: str) -> tuple[bool, bool]:
        done = subprocess.run(
            [sys.executable, "-c", ORDER.format(*order)], env=own, capture_output=True, text=True, check=True
        )
        fast, said = done.stdout.split()
        return fast == "True", said == "True"

    fast, said = run("tensorflow", "fedlang")
    assert said == (not fast and os.uname().machine == "x86_64")
    assert run("fedlang", "tensorflow")[1] is False
