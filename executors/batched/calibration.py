"""The figures of this machine, measured once in a fraction of a second and kept on disk.

They are kept in the user's cache (`$XDG_CACHE_HOME/fedlang`) under a name that says for which TensorFlow, device and
number of cores they are. What is there and makes no sense is measured anew. `FEDLANG_CALIBRATION` is `off` for fixed
figures, the same on every machine, or the path of another file to keep them in.

The figures choose how work is run, and the ways to run it differ in the last bits of a result: keep the file, or turn
the measuring off, where those matter from machine to machine.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fedlang.ir.graph import Builder, Graph, Sequence, Tensor
from fedlang.run.executor import ClientTask
from fedlang.run.sequences import Array, Rows
from fedlang.types.dims import named

from ..tensorflow.calls import Traced
from ..tensorflow.chunks import sequential_work
from ..tensorflow.start import CORES, tf
from ..tensorflow.work import Readable
from .costs import cost_of
from .figures import FAR, FIXED, NEAR, Figures
from .typical import FEATURES, VARIES, typical_work

VARIABLE = "FEDLANG_CALIBRATION"
ROWS, COLUMNS, STEPS, OPERATIONS = 20, 10, 100, 25
PRODUCT = 2 * 20 * 64 * 64
AROUND = 5  # what a step of the loop of these operations takes beside them, in operations
WIDEST = 1000.0  # a figure that many times off the fixed one is no measurement


def figures() -> Figures:
    """This machine's, from the cache, or measured now; the fixed ones where measuring is turned off."""
    chosen = os.environ.get(VARIABLE, "")
    return FIXED if is_off() else _kept(chosen or _usual_path())


def is_off() -> bool:
    """Whether only fixed figures are used."""
    return os.environ.get(VARIABLE, "") == "off"


@lru_cache(maxsize=8)
def _kept(path: str) -> Figures:
    known = read_figures(path)
    if known is None:
        known = measure()
        write_figures(path, known)
    return known


def _usual_path() -> str:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    return os.path.join(home, "fedlang", f"calibration-tf{tf.__version__}-{device}-{CORES}.json")


def read_figures(path: str) -> Figures | None:
    """What a file holds; None where it is not there or cannot be right."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        given = {field.name: float(found[field.name]) for field in fields(Figures)}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    usual = asdict(FIXED)
    sane = all(1 / WIDEST < value / usual[name] < WIDEST for name, value in given.items())
    return Figures(**given) if sane else None


def write_figures(path: str, found: Figures) -> None:
    """Keeps figures; a file is there whole or not at all, and one that cannot be written is done without."""
    folder = os.path.dirname(os.path.abspath(path))
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(found), file, indent=1)
        os.replace(name, path)


def measure() -> Figures:
    """Measures, on one core. Each figure is the best of some tries: others may use the machine at the same time."""
    with tf.device("/CPU:0"):
        call = _step(_small_steps(), (False, True), *_small_values()) / (OPERATIONS + AROUND)
        product = 16 * PRODUCT / _products(16)
        numbers = _normal(1 << 14)
        images, kernel = _normal(20, 14, 14, 8), _normal(3, 3, 8, 16)
        product_call = max(_products(1) - PRODUCT / product, call)
        own = _step(typical_work(), VARIES, *_typical_values())
        known = replace(FIXED, call=call, step=0.0, product_call=product_call, product=product)
        return Figures(
            call=call,
            step=max(own - cost_of(typical_work()).seconds(known, looped=True), AROUND * call),
            product_call=product_call,
            product=product,
            convolution=2 * 20 * 12 * 12 * 3 * 3 * 8 * 16 / _best(lambda: tf.nn.conv2d(images, kernel, 1, "VALID")),
            hard=(1 << 14) / _loop(lambda x: tf.exp(tf.exp(-x)), numbers) * 2,
            near=_bandwidth(NEAR),
            far=_bandwidth(FAR, steps=4),
            crowd=_crowd(),
        )


def _bandwidth(size: int, **steps: int) -> float:
    """Bytes a second that operations read and write which go over so many again and again, in place: what a first
    touch of new memory takes is the system's, and differs from run to run."""
    return 2 * size / (_loop(lambda x: tf.abs(1.0 - tf.abs(x)), tf.ones([size // 4]), **steps) / 3)


def _crowd() -> float:
    """How many times as long a loop takes that multiplies and adds, as a block of clients does, where each core has
    one: its data are as large as would fit the core's own memory."""
    if CORES == 1:
        return 1.0
    weights, x = _normal(16, 256, 16), _normal(16, 20, 256)

    def body(x: Any) -> Any:
        y = tf.matmul(tf.matmul(x, weights), weights, transpose_b=True)
        return tf.abs(1.0 - tf.abs(x)) + 1e-6 * y

    loop = _looped(body, x, steps=40)
    with ThreadPoolExecutor(CORES) as pool:
        together = _best(lambda: list(pool.map(lambda _: loop(), range(CORES))))
    return min(max(together / _best(loop), 1.0), float(CORES))


def _step(graph: Graph, varies: tuple[bool, ...], shared: list[Array], own: tuple[Rows, ...]) -> float:
    """Seconds of one of the `STEPS` steps that a client takes, as this executor runs clients one by one."""
    work = sequential_work(graph, varies)
    read = Readable.of([ClientTask(0, "", tuple)], [own])
    feeds, packed = work.pack_shared(shared), work.pack(read)
    return _best(lambda: work.run(feeds, packed, read)) / STEPS


def _small_values() -> tuple[list[Array], tuple[Rows, ...]]:
    return [np.ones((ROWS, COLUMNS), np.float32)], (Rows(np.zeros((STEPS, COLUMNS), np.float32)),)


def _typical_values() -> tuple[list[Array], tuple[Rows, ...]]:
    splits = np.arange(STEPS + 1, dtype=np.int64) * ROWS
    x, y = np.zeros((STEPS * ROWS, FEATURES), np.float32), np.zeros(STEPS * ROWS, np.int32)
    return [np.zeros(2, np.float32), np.zeros((FEATURES, 2), np.float32)], (Rows(x, splits), Rows(y, splits))


def _small_steps() -> Graph:
    """A loop over rows whose steps have `OPERATIONS` operations on a small matrix."""
    matrix, row = Tensor("float32", (ROWS, COLUMNS)), Tensor("float32", (COLUMNS,))
    inner = Builder()
    x, each = inner.parameter(matrix), inner.parameter(row)
    y = inner.add("multiply", (x, inner.add("broadcast", (each,), matrix, axes=(1,))), matrix)
    for _ in range((OPERATIONS - 1) // 3):
        y = inner.add("relu", (inner.add("subtract", (x, y), matrix),), matrix)
        y = inner.add("maximum", (y, x), matrix)
    outer = Builder()
    first, rows = outer.parameter(matrix), outer.parameter(Sequence(row, named("n")))
    body = inner.finish((y,))
    fold = outer.add("fold", (first, rows), (matrix,), body=body, captured=0, carries=1, reverse=False)
    return outer.finish((outer.get(fold, 0),))


def _products(count: int) -> float:
    """Seconds of so many small matrix products at once, `PRODUCT` multiplications and additions each."""
    weights = _normal(count, 64, 64)
    return _loop(lambda x: tf.matmul(tf.matmul(x, weights), weights), _normal(count, 20, 64)) / 2


def _normal(*shape: int) -> Any:
    return tf.random.stateless_normal(shape, [1, 2])


def _loop(body: Callable[[Any], Any], x: Any, steps: int = 20) -> float:
    """Seconds of a step of a loop over `body`."""
    return _best(_looped(body, x, steps)) / steps


def _looped(body: Callable[[Any], Any], x: Any, steps: int) -> Callable[[], object]:
    """So many steps of it, compiled."""

    def run(x: Any) -> Any:
        return tf.while_loop(lambda k, _: k < steps, lambda k, x: (k + 1, body(x)), (0, x), parallel_iterations=1)

    compiled = Traced(run, [tf.TensorSpec.from_tensor(x)])
    return lambda: compiled(x, spread=False)


def _best(run: Callable[[], object], tries: int = 4) -> float:
    run()
    found = []
    for _ in range(tries):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)
