"""No test depends on how fast the machine is: executors choose by fixed figures, in processes that tests start too.

Nor does one depend on whether a test before it has loaded TensorFlow: programs run on `reference` unless a test says
otherwise. NumPy multiplies in one thread: where several processes share the cores, its threads wait for each other, and a
small product takes fifty times as long.
"""

import os
import sys

os.environ["FEDLANG_CALIBRATION"] = "off"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

assert "numpy" not in sys.modules, "it reads the environment when it is imported"
from fedlang.run.registry import set_default_executor  # noqa: E402 (what is imported reads the environment)

set_default_executor("reference")
