"""`python -m benchmarks`: measures, prints one table, writes JSON. `--help` lists what there is to choose."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from benchmarks import cold, grid, memory, padding
from benchmarks.contenders import OURS, Contender
from benchmarks.peers import PEERS, Peer, python_of
from benchmarks.rounds import Effort, measure
from benchmarks.rows import CENTRAL, Row, show, write_json
from benchmarks.workloads import WORKLOADS, Workload

Part = Callable[[], list[Row]]
QUICK = Effort(rounds=2, least=0.05, most=10.0)
SMALL = {"softmax50": 50, "softmax1000": 100, "cnn": 5, "lstm": 2}
OTHERS = ("cold", "memory", "padding", "grid")
NAMES = (*(workload.name for workload in WORKLOADS), *OTHERS)


def environments(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each peer's virtual environment, or an environment variable."""
    for peer in reversed(PEERS):
        command = click.option(
            f"--{peer.name}",
            type=click.Path(exists=True, path_type=Path),
            envvar=f"FEDLANG_BENCH_{peer.name.upper()}",
            show_envvar=True,
            help=f"The virtual environment of {peer.title}.",
        )(command)
    return command


@click.command(help=__doc__)
@click.argument("parts", nargs=-1, type=click.Choice(NAMES))
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="The same as naming it.")
@click.option("--contender", "names", multiple=True, help="Only these, and the centralised loop.")
@click.option("--rounds", type=click.IntRange(1), help="Turns for each contender; 5 by default.")
@click.option("--quick", is_flag=True, help="Fewer clients and rounds: shows that all of it runs.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Keeps what was found.")
@environments
def main(
    parts: Sequence[str],
    only: Sequence[str],
    names: Sequence[str],
    rounds: int | None,
    quick: bool,
    file: Path | None,
    **given: Path | None,
) -> None:
    """Measures the parts named, or all of them but `grid`, in their order."""
    effort = QUICK if quick else Effort()
    effort = effort if rounds is None else replace(effort, rounds=rounds)
    chosen = {*parts, *only} or set(NAMES) - {"grid"}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fedlang-benchmarks-", ignore_cleanup_errors=True) as folder:
        peers = with_environments(given, Path(folder))
        for name, part in plan(effort, select([*OURS, *peers], names), peers, Path(folder), quick=quick).items():
            if name in chosen:
                print(name, file=sys.stderr)
                rows += part()
                if file is not None:
                    write_json(file, rows)
    show(rows)


def with_environments(given: dict[str, Path | None], folder: Path) -> list[Peer]:
    """The peers, those that were given an environment with its Python."""
    found = {name: python_of(path) for name, path in given.items() if path is not None}
    return [replace(peer, python=found.get(peer.name), folder=folder) for peer in PEERS]


def select(contenders: Sequence[Contender], names: Sequence[str]) -> list[Contender]:
    """Those of these names, where there are any; the centralised loop always."""
    known = [each.name for each in contenders]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"there is no {name!r}; there are: {'; '.join(known)}", param_hint="--contender")
    return [each for each in contenders if not names or each.name in names or each.name == CENTRAL]


def plan(
    effort: Effort, contenders: Sequence[Contender], peers: Sequence[Peer], folder: Path, *, quick: bool
) -> dict[str, Part]:
    """What there is to measure, by name."""
    workloads = [workload.smaller(SMALL[workload.name]) if quick else workload for workload in WORKLOADS]

    def rounds(workload: Workload) -> Part:
        return lambda: measure(workload, contenders, effort)

    counts, many = ((100, 1000), 50) if quick else ((1_000, 10_000, 100_000), 500)
    return {
        **{workload.name: rounds(workload) for workload in workloads},
        "cold": lambda: cold.measure(workloads[0], ("batched", "reference"), peers, folder),
        "memory": lambda: memory.measure(counts, many),
        "padding": lambda: padding.measure(200 if quick else 1000),
        "grid": lambda: grid.measure(effort, most=10 if quick else None),
    }


if __name__ == "__main__":
    main()
