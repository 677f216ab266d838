"""Whether an executor gives what the reference gives, by the classes of equality that the language promises.

Integers, bool, strings and structure agree exactly, and so does every bit of a program that is `exact`. Other floats
agree up to a tolerance. Whatever the executor gives, it gives again bit for bit when the clients are told in another
order, and each client's own result when fewer clients take part: no result depends on chunks, threads or places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedlang.diagnostics import DiagnosticError
from fedlang.embed.computations import ClientState, Process
from fedlang.embed.loading import Package, loads
from fedlang.run.executor import Executor
from fedlang.run.registry import get_executor
from fedlang.run.values import leaves_equal
from fedlang.testing.programs import ConformanceProgram, conformance_programs


class ConformanceError(AssertionError):
    """What an executor gives, and should not."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far floats may be from the reference's, by dtype: a share of the largest number in the array.

    `independent`: whether a client's bits depend on nothing but the client. Off for XLA and GPUs.
    """

    float32: float = 2e-6
    float64: float = 1e-12
    float16: float = 2e-3
    independent: bool = True

    def of(self, dtype: np.dtype[Any]) -> float:
        """The share for a dtype."""
        return {"float64": self.float64, "float16": self.float16, "bfloat16": 8 * self.float16}.get(
            dtype.name, self.float32
        )


Leaves = dict[str, Any]


def check_executor(
    executor: Executor | str,
    *,
    tolerance: Tolerance | None = None,
    programs: Iterable[ConformanceProgram] | None = None,
) -> None:
    """Runs every program. `ConformanceError` with all that is wrong, a line for each program and value."""
    wrong = []
    executor = get_executor(executor) if isinstance(executor, str) else executor  # a wrong name is no program's failure
    for program in conformance_programs() if programs is None else programs:
        try:
            check_program(executor, program, tolerance=tolerance)
        except ConformanceError as error:
            wrong.append(str(error))
        except Exception as error:  # whatever the executor raises
            told = (
                error.diagnostics[0].title if isinstance(error, DiagnosticError) else f"{type(error).__name__}: {error}"
            )
            wrong.append(f"{program.name}: {told}")
    if wrong:
        raise ConformanceError("\n".join(wrong))


def check_program(executor: Executor | str, program: ConformanceProgram, *, tolerance: Tolerance | None = None) -> None:
    """Runs one program on the executor and on the reference. `ConformanceError` where they differ."""
    within = tolerance or Tolerance()
    package = loads(program.text, f"<{program.name}>")
    wanted = _run(package, program, get_executor("reference"))
    found = _run(package, program, executor)
    exact = replace(within, float32=0.0, float64=0.0, float16=0.0) if program.exact else within
    wrong = [*_differences(found, wanted, exact)]
    if not wrong and within.independent:
        wrong = [*_dependences(package, program, executor, found)]
    if wrong:
        raise ConformanceError("\n".join(f"{program.name}: {line}" for line in wrong))


def _dependences(
    package: Package, program: ConformanceProgram, executor: Executor | str, found: Leaves
) -> Iterator[str]:
    """Where a result depends on the order of the clients, or on which others there are."""
    for order in (slice(None, None, -1), slice(3, None, -1)):
        for path, value in _run(package, _with_clients(program, order, keep=True), executor).items():
            if not leaves_equal(np.asarray(value), np.asarray(found[path])):
                yield f"{path} depends on the order of the clients"
    if program.rounds:
        return  # who takes part is in the weights from the second round on
    for few in (slice(0, 1), slice(2, 5), slice(None, None, 2)):
        for path, value in _run(package, _with_clients(program, few), executor).items():
            if "@" in path and not leaves_equal(np.asarray(value), np.asarray(found[path])):
                yield f"{path} depends on which other clients take part"


def _with_clients(program: ConformanceProgram, chosen: slice, *, keep: bool = False) -> ConformanceProgram:
    """The same with some of the clients, in the slice's order; `keep`: the others follow."""

    def pick(argument: Any) -> Any:
        if not isinstance(argument, Mapping):
            return argument
        names = list(argument)[chosen]
        return {name: argument[name] for name in (*names, *(n for n in argument if keep and n not in names))}

    return replace(program, arguments=tuple(pick(argument) for argument in program.arguments))


def _run(package: Package, program: ConformanceProgram, executor: Executor | str) -> Leaves:
    if not program.rounds:
        made = package.entry("f")
        assert not isinstance(made, Process)
        return dict(_leaves(made.run(program.arguments, executor=executor), "f"))
    process = package.entry("p")
    assert isinstance(process, Process)
    state, results = process.initialize(0), []
    for _ in range(program.rounds):
        result = process.run_round(state, program.arguments, executor=executor)
        state = result["state"]
        results.append(dict(_leaves(result, "p")))
    return results[-1]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Arrays by their path; a client's by `…@id`."""
    match value:
        case ClientState():
            for client in sorted(value.known):
                yield from _leaves(value[client], f"{path}@{client}")
        case Mapping():
            for name in value:
                yield from _leaves(value[name], f"{path}.{name}")
        case tuple() | list():
            for k, item in enumerate(value):
                yield from _leaves(item, f"{path}.{k}")
        case _:
            yield path, value


def _differences(found: Leaves, wanted: Leaves, tolerance: Tolerance) -> Iterator[str]:
    for path in wanted.keys() - found.keys():
        yield f"{path} is missing"
    for path in found.keys() - wanted.keys():
        yield f"{path} is not in the reference's result"
    for path, value in wanted.items():
        if path in found:
            said = difference(np.asarray(found[path]), np.asarray(value), tolerance)
            if said:
                yield f"{path} {said}"


def difference(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], tolerance: Tolerance) -> str:
    """What is wrong with an array; "" where nothing is. NaN and infinities must stand where they should."""
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return f"is {found.dtype}{list(found.shape)}, not {wanted.dtype}{list(wanted.shape)}"
    if leaves_equal(found, wanted):
        return ""
    within = tolerance.of(wanted.dtype)
    if wanted.dtype.kind in "biuSO" or not within:
        return f"differs: {found.ravel()[:4].tolist()}…, not {wanted.ravel()[:4].tolist()}…"
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return "has NaN or infinity where it should not"
    off, largest = np.abs(a - b)[finite].max(initial=0.0), np.abs(b)[finite].max(initial=0.0)
    return f"is off by {off:.3g}, of {largest:.3g}" if off > within * max(largest, 1e-3) or np.isnan(off) else ""
