"""Other simulators, each in a process of its own environment, sent a line for each round (`adapters/serve.py`)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders import Turn
from benchmarks.workloads import Workload

ADAPTERS = Path(__file__).parent / "adapters"


@dataclass
class Served:
    """An adapter's process. `started` is how many seconds it took until it could run its first round."""

    process: subprocess.Popen[str]
    name: str
    log: Path
    begun: float
    version: str = ""
    started: float = 0.0

    def __post_init__(self) -> None:
        self.version = self._answer()["version"]
        self.started = time.perf_counter() - self.begun

    def run_round(self) -> Turn:
        """A round. CPU time is that of the process and of those that it started."""
        assert self.process.stdin is not None
        before = _cpu_of_children(self.process.pid)
        self.process.stdin.write("round\n")
        self.process.stdin.flush()
        found = self._answer()
        more = sum(max(0.0, now - before.get(pid, 0.0)) for pid, now in _cpu_of_children(self.process.pid).items())
        return Turn(found["wall"], found["cpu"] + more, found["norm"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise _failure(self.name, self.log.read_text(errors="replace").strip().splitlines())
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Ends the process and those that it started."""
        family = _family(self.process.pid)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()
        for each in psutil.wait_procs(family, 10)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()


class PeerFailed(RuntimeError):
    """An adapter's process ended before it answered."""


def _failure(name: str, said: list[str]) -> PeerFailed:
    """Its last line that reads like an exception, or its last line; the end of what it said is a note."""
    errors = [line for line in said if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    error = PeerFailed(f"{name} ended: {(errors or said or ['it said nothing'])[-1]}")
    error.add_note("\n".join(said[-20:]))
    return error


@dataclass(frozen=True)
class Peer:
    """A simulator: the adapter that drives it, the Python of its environment, and the models that the adapter has."""

    name: str
    title: str
    adapter: str
    models: tuple[str, ...]
    why_not_others: str
    python: Path | None = None
    folder: Path = field(default=Path(), repr=False)

    def missing(self, workload: Workload) -> str | None:
        """Without an environment it takes part in nothing."""
        if workload.model.name not in self.models:
            return f"left out: {self.why_not_others}"
        if self.python is None:
            return f"left out: --{self.name.split(',')[0]} names no environment"
        return None

    def prepare(self, workload: Workload) -> Served:
        """The adapter's process, which reads the workload from a file."""
        file, log = self.folder / f"{workload.name}.npz", self.folder / f"{self.name}-{workload.name}.log"
        if not file.exists():
            workload.save(file)
        begun = time.perf_counter()
        with log.open("w") as errors:
            process = subprocess.Popen(
                [str(self.python), str(ADAPTERS / self.adapter), str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")},
                cwd=self.folder,
            )
        return Served(process, self.name, log, begun)


ALL = ("softmax", "cnn", "lstm")
PEERS = (
    Peer(
        "jax",
        "JAX, for a centralised scan",
        "jax_scan.py",
        ("softmax", "lstm"),
        "a compiled loop of convolutions takes minutes",
    ),
    Peer("fedjax", "FedJAX", "fedjax_rounds.py", ALL, ""),
    Peer("pfl", "pfl-research with PyTorch", "pfl_rounds.py", ALL, ""),
    Peer("flower", "Flower with Ray", "flower_rounds.py", ("softmax",), "its clients compute in NumPy"),
    Peer("tff", "TensorFlow Federated 0.87", "tff_rounds.py", ALL, ""),
)


def python_of(environment: Path) -> Path:
    """The Python of a virtual environment, given its folder or the Python itself."""
    if environment.is_file():
        return environment
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []


def _cpu_of_children(pid: int) -> dict[int, float]:
    """CPU seconds, user and system, of each process that it started."""
    found = {}
    for child in _family(pid)[:-1]:
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            found[child.pid] = times.user + times.system
    return found
