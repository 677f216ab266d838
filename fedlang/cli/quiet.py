"""Executors loaded without what their libraries say while they start; and the end of the process, with them loaded."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

from fedlang.run.executor import Executor
from fedlang.run.registry import get_executor

WITH_STRATEGIES = "batched"

# Python ends by looking for garbage among all objects, of which TensorFlow made a quarter of a million: half a second.
atexit.register(gc.freeze)


def load_executor(name: str | None, strategy: str | None = None) -> Executor:
    """As `get_executor`; a strategy alone means `batched`.

    TensorFlow tells of its build on standard error, and no option keeps it from that.
    """
    with _quiet():
        if strategy is None:
            return get_executor(name)
        return get_executor(name or WITH_STRATEGIES, strategy=strategy)


def load_tensorflow() -> None:
    """TensorFlow, set up as the executors do, which only works before it has run anything. Without it, nothing."""
    with suppress(ImportError), _quiet():
        import_module("fedlang.executors.tensorflow.start")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what is written to the file behind standard error; shows it after all if something is raised."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(before, kept.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
