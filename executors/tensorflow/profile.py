"""What operations take while a program runs, by TensorFlow's own profiler.

An operation's name begins with the label of its work and has, last, the scope of the operation of fedlang that it came
from (`lower.py`). What TensorFlow does beside operations, in loops and between threads, is told as `AROUND`.
"""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .start import tf

AROUND = "loops and calls"
_LABEL = re.compile(r"^(work\.\d+)/")
_OPERATION = re.compile(r"op\.([a-z0-9_]+?)(?:_\d+)?(?=[/:])")
KERNELS = {  # a product that an addition was made part of has the addition's name
    "MatMul": "matmul",
    "Conv2DBackpropFilter": "conv2d_kernel",
    "Conv2DBackpropInput": "conv2d_input",
    "Conv2D": "conv2d",
}


@dataclass(slots=True)
class Spent:
    """Seconds and calls."""

    seconds: float = 0.0
    calls: int = 0

    def add(self, seconds: float) -> None:
        """One call more."""
        self.seconds += seconds
        self.calls += 1


@dataclass(slots=True)
class Profile:
    """By work's label, operation and device. `is_there` is false where this TensorFlow's profiles cannot be read."""

    spent: dict[tuple[str, str, str], Spent] = field(default_factory=dict)
    is_there: bool = False

    @property
    def rest(self) -> float:
        """Seconds that no operation of a work accounts for: small operations, loops and calls."""
        whole = sum(spent.seconds for (label, _, _), spent in self.spent.items() if not label)
        return max(0.0, whole - sum(spent.seconds for (label, _, _), spent in self.spent.items() if label))

    def add(self, label: str, operation: str, device: str, seconds: float) -> None:
        """One call of an operation."""
        self.spent.setdefault((label, operation, device), Spent()).add(seconds)


@contextmanager
def profiled() -> Iterator[Profile]:
    """A profile that is filled when the block ends; it stays empty where someone else profiles."""
    found = Profile()
    with tempfile.TemporaryDirectory() as folder:
        if not _start(folder):
            yield found
            return
        try:
            yield found
        finally:
            tf.profiler.experimental.stop()
            for path in glob.glob(os.path.join(glob.escape(folder), "**", "*.xplane.pb"), recursive=True):
                _read(path, found)


def _start(folder: str) -> bool:
    """Begins to profile; false where someone else does already."""
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3, python_tracer_level=0)
    try:
        tf.profiler.experimental.start(folder, options=options)
    except tf.errors.AlreadyExistsError:
        return False
    return True


def _read(path: str, found: Profile) -> None:
    try:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2
    except ImportError:  # it is no part of TensorFlow's public face
        return
    space = xplane_pb2.XSpace()
    with open(path, "rb") as file:
        space.ParseFromString(file.read())
    found.is_there = True
    for plane in space.planes:
        device = device_of(plane.name)
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines if device is not None else ():
            if device == "CPU" or line.name == "TensorFlow Ops":
                _read_line(line, names, str(device), found)


def device_of(plane: str) -> str | None:
    """The device that a plane of a profile is about; None where it is about something else."""
    if plane.startswith("/host:CPU"):
        return "CPU"
    return plane.removeprefix("/device:") if plane.startswith("/device:GPU") else None


def _read_line(line: Any, names: dict[int, str], device: str, found: Profile) -> None:
    until = 0  # the end of the last part of a program that is no part of another: a function may run inside its caller
    for event in sorted(line.events, key=lambda event: event.offset_ps):
        name, seconds = names[event.metadata_id], event.duration_ps * 1e-12
        if name == "ExecutorState::Process":
            if event.offset_ps >= until:
                found.add("", AROUND, device, seconds)
                until = event.offset_ps + event.duration_ps
        elif label := _LABEL.match(name):
            found.add(label[1], operation_of(name), device, seconds)


def operation_of(name: str) -> str:
    """The operation of fedlang that an operation of TensorFlow came from."""
    kind, scopes = name.rpartition(":")[2], _OPERATION.findall(name)
    scope = scopes[-1] if scopes else AROUND
    for kernel, operation in KERNELS.items():
        if kernel in kind and not (kernel == "MatMul" and scope.startswith("conv2d")):  # which may be products
            return operation
    return scope if scope not in ("fold", "cond", "map") else AROUND
