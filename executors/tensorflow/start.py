"""TensorFlow, imported and set up once: one thread for each operation, so that a client's bits do not depend on the
machine.

`Conv2DBackpropFilter` and `BiasAddGrad` give other bits with two threads inside one operation than with one; parallel
work comes from clients instead. TensorFlow takes the setting only before its first operation: `SETTINGS` says what
was reached, for a run's manifest.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

__all__ = ["CORES", "SETTINGS", "Settings", "has_gpu", "tf"]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Settings:
    """How TensorFlow runs here. `intra_op` 0 means that it was started before and keeps its own choice."""

    version: str
    intra_op: int
    inter_op: int


def _start() -> Settings:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(CORES)
    except RuntimeError:
        pass  # started by someone else; what it uses is read below
    threads = tf.config.threading
    return Settings(
        tf.__version__, threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()
    )


SETTINGS = _start()


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
