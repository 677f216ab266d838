"""`fed train`: a process over client data, for some rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fedlang.cli.run import STRATEGY_HELP, VERBOSE_HELP
from fedlang.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from fedlang.cli.explaining import Watching
    from fedlang.cli.recording import Recorder
    from fedlang.cli.targets import Target
    from fedlang.cli.training import Evaluation, Plan, Training
    from fedlang.embed.computations import Process

INTERRUPTED = 130
DEFAULT_EVALUATIONS = ("accuracy", "evaluation")
EVALUATE_HELP = "The function that evaluates the state; `accuracy` or `evaluation` if there is one."
AT_LEAST_1 = click.IntRange(min=1)


@click.command
@click.argument("target", metavar="FILE[:PROCESS]")
@click.option("--data", metavar="NAME", help="The data set: mnist or shakespeare.")
@click.option(
    "--rounds", type=AT_LEAST_1, default=30, show_default=True, help="How many rounds, counted from the first."
)
@click.option("--batch", type=AT_LEAST_1, default=20, show_default=True, help="Examples in a batch.")
@click.option(
    "--epochs", type=AT_LEAST_1, default=1, show_default=True, help="How often a client goes over its examples."
)
@click.option("--clients", type=AT_LEAST_1, help="How many clients take part in a round, drawn anew; all if left out.")
@click.option(
    "--executor",
    metavar="NAME",
    help="What it runs on: without this, `batched` where TensorFlow is installed. `fed executors` lists them.",
)
@click.option("--strategy", metavar="NAME", help=STRATEGY_HELP)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting; may be repeated.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="What all chance depends on."
)
@click.option("--evaluate", metavar="NAME", help=EVALUATE_HELP)
@click.option("--evaluate-every", type=AT_LEAST_1, default=1, show_default=True, help="Rounds between evaluations.")
@click.option("--plot", metavar="FILE.png", help="Draw the metrics.")
@click.option("--out", metavar="FILE.jsonl", help="Write the metrics of each round as it ends.")
@click.option("--explain", is_flag=True, help="Tell how `batched` ran the clients of a round, why, and what it took.")
@click.option("-v", "--verbose", is_flag=True, help=VERBOSE_HELP)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document at the end; the table is on standard error."
)
@click.option("--checkpoint", metavar="FOLDER", help="Keep the state there.")
@click.option("--checkpoint-every", type=AT_LEAST_1, default=5, show_default=True, help="Rounds between checkpoints.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint.")
def command(
    *,
    target: str,
    data: str | None,
    rounds: int,
    batch: int,
    epochs: int,
    clients: int | None,
    executor: str | None,
    strategy: str | None,
    settings: tuple[str, ...],
    seed: int,
    evaluate: str | None,
    evaluate_every: int,
    plot: str | None,
    out: str | None,
    explain: bool,
    verbose: bool,
    as_json: bool,
    checkpoint: str | None,
    checkpoint_every: int,
    resume: bool,
) -> int:
    """Train a process on client data, and show its metrics round by round.

    The process's `next` takes its state and `<T*>@CLIENTS`. Held-out accuracy comes from a function of the file over
    fields of the state and the clients' test examples, such as `fed accuracy(weights: Weights@SERVER, data:
    <Example[?]*>@CLIENTS)`. A FILE that ends with .py is imported, and PROCESS is a name that it binds. Ctrl-C writes
    what there is.
    """
    from fedlang.cli.checkpoints import verify_no_checkpoint
    from fedlang.cli.explaining import Watching
    from fedlang.cli.quiet import load_executor, load_tensorflow
    from fedlang.cli.recording import Recorder
    from fedlang.cli.sinks import Console
    from fedlang.cli.targets import Target
    from fedlang.cli.training import Plan

    if resume and checkpoint is None:
        raise click.UsageError("`--resume` needs `--checkpoint FOLDER`")
    if checkpoint is not None and not resume:
        verify_no_checkpoint(checkpoint)
    opened = Target(target)
    process = opened.process(settings)
    found = load_data(process.name, data)
    if executor is None:
        load_tensorflow()  # it is worth its start: where it is loaded, `batched` is in force
    chosen = load_executor(executor, strategy)
    plan = Plan(batch, epochs, clients or len(found.train), seed, chosen, Console(err=as_json))
    training = make_training(opened, process, data or "", found, evaluate, plan)
    recorder = Recorder(training, data or "", plot, out, checkpoint, checkpoint_every, as_json=as_json)
    watching = Watching(chosen, training.origins, explain=explain, verbose=verbose, as_json=as_json)
    return train(training, recorder, watching, rounds, evaluate_every, resume=resume)


def load_data(process: str, name: str | None) -> Any:
    """The data set of that name."""
    from fedlang.cli import errors
    from fedlang.data.samples import NAMES, load

    if name is None:
        raise errors.no_training_data(process, NAMES)
    return load(name)


def make_training(
    opened: Target, process: Process, data: str, found: Any, evaluate: str | None, plan: Plan
) -> Training:
    """The process with its data, in the shapes that it takes, and its evaluation."""
    from fedlang.cli.training import Training, training_fitting

    fitting = training_fitting(process, data)
    evaluation = find_evaluation(opened, process, data, evaluate)
    held_out = evaluation.fitting.fit(found.test) if evaluation is not None else found.test
    return Training(process, fitting.fit(found.train), held_out, fitting, evaluation, plan)


def find_evaluation(opened: Target, process: Process, data: str, name: str | None) -> Evaluation | None:
    """The function that is named, or the usual one if the file declares it."""
    from fedlang.cli import errors
    from fedlang.cli.training import evaluation_of
    from fedlang.embed.computations import Computation

    name = name or next((each for each in DEFAULT_EVALUATIONS if each in opened.programs.names), None)
    if name is None:
        return None
    found = opened.programs.entry(name)
    if not isinstance(found, Computation):
        raise errors.bad_evaluation(name, "it is no function")
    return evaluation_of(name, found, process, data)


def train(
    training: Training, recorder: Recorder, watching: Watching, rounds: int, evaluate_every: int, *, resume: bool
) -> int:
    """All rounds, recorded; gives the exit code."""
    state = recorder.begin(training.first_state(), rounds, resume=resume)
    if recorder.next_round > rounds:
        done = recorder.next_round - 1
        click.echo(f"the checkpoint has {done} rounds already: ask for more with `--rounds`", err=True)
    try:
        with recorder:
            rows = training.rounds(state, recorder.next_round, rounds, evaluate_every)
            for after, row in watching.over(rows, rounds - recorder.next_round + 1):
                recorder.add(after, row)
    except DiagnosticError:
        recorder.finish({}, interrupted=True)
        raise
    except KeyboardInterrupt:
        click.echo(f"interrupted after {recorder.next_round - 1} of {rounds} rounds", err=True)
        recorder.finish({}, interrupted=True)
        return INTERRUPTED
    recorder.finish(watching.document(), interrupted=False)
    watching.show()
    return 0
