"""TensorFlow, imported and set up once: one thread for each operation, so that a client's bits do not depend on the
machine.

`Conv2DBackpropFilter` and `BiasAddGrad` give other bits with two threads inside one operation than with one; parallel
work comes from clients instead. Sessions have threads of their own and say so themselves (`calls.py`); what is called
as a function takes the process's setting, which can be made only before TensorFlow's first operation.

TensorFlow loads Keras when it is imported, so that saved models find Keras's optimizers, and Keras loads Matplotlib
where there is one: together a quarter of the import. Here Keras is loaded when somebody asks for it. Nor is garbage
looked for meanwhile, of which there is little among a million new objects: a sixth.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from importlib import import_module
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_placeholder = ModuleType("keras.src.optimizers")  # what TensorFlow asks for of Keras
_collects = gc.isenabled()
sys.modules.setdefault(_placeholder.__name__, _placeholder)
gc.disable()
try:
    import tensorflow as tf
finally:
    if sys.modules.get(_placeholder.__name__) is _placeholder:  # and not Keras's own, from before or by another thread
        del sys.modules[_placeholder.__name__]
    if _collects:
        gc.enable()

__all__ = ["CORES", "has_gpu", "tf"]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

try:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(CORES)
except RuntimeError:
    pass  # it was started before, and keeps what it has


def _came_too_early() -> bool:
    """Whether TensorFlow was imported before `import fedlang` asked for its oneDNN operations (`fedlang/__init__.py`);
    it tells by a private function whether it has them."""
    try:
        has_them: bool = import_module("tensorflow.python.util._pywrap_util_port").IsMklEnabled()
    except (ImportError, AttributeError):
        return False
    return not has_them and os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"


if _came_too_early():
    warnings.warn(
        "TensorFlow, which Keras imports, was imported before fedlang, and multiplies small matrices slowly: "
        "a round may take twice as long. Import fedlang first, or set TF_ENABLE_ONEDNN_OPTS=1",
        RuntimeWarning,
        stacklevel=1,
    )


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
