"""`fed ir`: what the compiler makes of a program, after any of its passes."""

from __future__ import annotations

import click

PHASES = "phases"


@click.command
@click.argument("target", metavar="FILE[:NAME[.METHOD]]")
@click.option("--after", default=PHASES, metavar="PASS", help="Stop after this pass; `--after ?` lists them.")
def command(*, target: str, after: str) -> int:
    """Print the graph of a function or method, after lowering and all passes, or fewer.

    Without a method, a process's `next`. After the last pass, `phases`, it is a program: for each phase what the server
    prepares, what every client does, and what is aggregated.
    """
    from fedlang.pipeline import STAGES

    if after not in (*STAGES, PHASES):
        raise click.BadParameter(f"the passes are {', '.join((*STAGES, PHASES))}", param_hint="--after")
    click.echo(printed(target, after))
    return 0


def printed(target: str, after: str) -> str:
    """The text of the graph after a pass."""
    from fedlang.cli.targets import Target
    from fedlang.ir.text import print_graph, print_program
    from fedlang.pipeline import compile_graph, lower_entry, stages

    unit, entry = Target(target).any_computation().written
    lowered = lower_entry(unit, entry)
    if after == PHASES:
        return print_program(compile_graph(unit, lowered).program)
    return print_graph(next(graph for name, graph in stages(unit, lowered.graph) if name == after))
