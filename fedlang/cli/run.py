"""`fed run`: one function or method with arguments from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fedlang.embed.computations import Computation

EPILOG = """\b
An argument is VALUE or NAME=VALUE. A VALUE is
  an expression     2.5  [1, 2]  {a: 1, b: true}  range(10)
  JSON              {"a": [1, 2]}
  a file            @weights.npy  @weights.npz  @data.json
What a parameter at the clients takes is a list, one value for each client, or a record by client id."""

SCHEMA = "fedlang.run/1"
VERBOSE_HELP = "Tell which Keras models are called and why, and what ran client by client, or outside TensorFlow."
STRATEGY_HELP = "How `batched` runs a chunk of clients: auto, vectorised, blocks or sequential; means `batched`."


@click.command(epilog=EPILOG, context_settings={"ignore_unknown_options": True})
@click.argument("target", metavar="FILE[:NAME[.METHOD]]")
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@click.option("--executor", metavar="NAME", help="What it runs on; `fed executors` lists them.")
@click.option("--strategy", metavar="NAME", help=STRATEGY_HELP)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting; may be repeated.")
@click.option("--seed", type=int, default=0, show_default=True, help="The key, where one is needed and not given.")
@click.option("--explain", is_flag=True, help="Tell how `batched` ran the clients, why, and what it took.")
@click.option("-v", "--verbose", is_flag=True, help=VERBOSE_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    *,
    target: str,
    arguments: tuple[str, ...],
    executor: str | None,
    strategy: str | None,
    settings: tuple[str, ...],
    seed: int,
    explain: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Run a function, or a method of a process, and print its result.

    Without a NAME: `main`, or the only function of the file. A FILE that ends with .py is imported; a NAME is one that
    it binds to a computation or process, or MODEL.FUNCTION for what a Keras model became.
    """
    from fedlang.cli.arguments import Reader
    from fedlang.cli.explaining import Watching
    from fedlang.cli.quiet import load_executor
    from fedlang.cli.targets import Target

    computation = Target(target).computation(settings)
    places, names = Reader(computation.written[0]).arguments(arguments)
    names = with_keys(computation, places, names, seed)
    chosen = load_executor(executor, strategy)
    watching = Watching(chosen, computation.origins, explain=explain, verbose=verbose, as_json=as_json)
    with watching.running():
        result = computation.run(places, names, executor=chosen, sink=_sink(as_json=as_json))
    _print(result, watching.document(), as_json=as_json)
    watching.show()
    return 0


def with_keys(computation: Computation, places: tuple[Any, ...], names: dict[str, Any], seed: int) -> dict[str, Any]:
    """The arguments by name, with the seed for parameters that are keys and not given."""
    from fedlang.types.types import TensorType, unplaced

    parameters = computation.compiled.lowered.parameters[len(places) :]
    inner = ((name, unplaced(type)) for name, type in parameters if name not in names)
    return {**names, **{name: seed for name, type in inner if isinstance(type, TensorType) and type.dtype == "Key"}}


def _sink(*, as_json: bool) -> Any:
    """With JSON on standard output, what the program prints goes to standard error."""
    from fedlang.cli.sinks import Console

    return Console(err=as_json)


def _print(result: Any, beside: dict[str, Any], *, as_json: bool) -> None:
    """The result; as JSON with what is beside it, where there is anything."""
    import json

    from fedlang.cli.values import json_value, show_value

    if not as_json:
        click.echo(show_value(result))
        return
    found = json_value(result)
    click.echo(json.dumps({"schema": SCHEMA, "result": found, **beside} if beside else found))
