"""The library's learning algorithms for a Keras model: each is a few lines of the language beside the model's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fedlang.embed.computations import Computation, Process
from fedlang.embed.loading import package_of
from fedlang.learning import errors
from fedlang.learning.models import KerasModel, verify_is_program
from fedlang.learning.wiring import is_keras_model
from fedlang.source import Source
from fedlang.syntax.parser import parse_expression

Algorithm = Literal["fedavg", "fedprox", "scaffold"]
Statistics = Literal["averaged", "kept"]

MODEL = "{init: fn (_) => initial, loss, examples: count}"
OPTIMIZERS = "client = sgd(client_rate), server = sgd(server_rate)"


@dataclass(frozen=True)
class Recipe:
    """An algorithm's module, its settings besides the two rates, and the call."""

    module: str
    call: str
    settings: tuple[str, ...] = ()
    takes_aggregator: bool = True


RECIPES: Mapping[str, Recipe] = {
    "fedavg": Recipe("learning.fedavg", f"fedavg({MODEL}, {OPTIMIZERS}, aggregator = {{aggregator}}{{settle}})"),
    "fedprox": Recipe(
        "learning.fedavg",
        f"fedprox({MODEL}, strength = strength, {OPTIMIZERS}, aggregator = {{aggregator}}{{settle}})",
        ("strength",),
    ),
    "scaffold": Recipe(
        "learning.scaffold",
        f"scaffold({MODEL}, rate = client_rate, population = population, server_rate = server_rate{{settle}})",
        ("population",),
        takes_aggregator=False,
    ),
}
AGGREGATORS: Mapping[str, str] = {
    "clipping": "aggregators.aggregator",
    "fixed": "aggregators.aggregator",
    "mean": "aggregators.aggregator",
    "median": "aggregators.median",
    "zeroing": "aggregators.aggregator",
}
PLAIN_MEAN = "mean()"


def build_federated_averaging(
    model: KerasModel,
    *,
    client_rate: float = 0.02,
    server_rate: float = 1.0,
    algorithm: Algorithm = "fedavg",
    strength: float = 0.01,
    population: int | None = None,
    aggregator: str = PLAIN_MEAN,
    statistics: Statistics = "averaged",
) -> Process:
    """A process that trains the model from the weights it has now: gradient descent at the clients, averaged.

    `strength` is FedProx's, `population` (how many clients there are) SCAFFOLD's; both, the two rates and `initial` are
    settings of the process. `aggregator` is an expression of the language, such as `"clipping(fixed(1.0))"`.
    `statistics` says what becomes of what a model keeps without training it (a batch normalisation's moving mean):
    "averaged", as clients' weights are, or "kept" as it is at the start.
    """
    verify_is_program(model)
    recipe = _recipe(algorithm, population, aggregator)
    if statistics not in ("averaged", "kept"):
        raise errors.unknown_statistics(statistics)
    settles = model.has_statistics and statistics == "averaged"
    numbers = {
        "client_rate": client_rate,
        "server_rate": server_rate,
        "strength": strength,
        "population": population or 0,
    }
    for name, number in numbers.items():
        _verify_number(name, number)
    settings = ("client_rate", "server_rate", *recipe.settings)
    imports = _imports(recipe, aggregator)
    allows = ("collect",) if "aggregators.median" in imports else ()
    source = model.module.with_more(imports, [_process(recipe, settings, aggregator, settles)], allows).text
    title = f"<{algorithm} of keras {model.keras_model.name}>"
    package = package_of(Source(title, source), None, (model.origin,))
    process = package.entry("trained")
    assert isinstance(process, Process)
    return process.with_settings(initial=model.weights, **{name: numbers[name] for name in settings})


def build_federated_evaluation(model: Any) -> Any:
    """How a model does on clients' data: a computation.

    For what `from_keras_model` gives: `(weights, data)` to the means of the loss and of each metric over all examples,
    and `examples`. For a function that makes a model (or a `Model` class): `(state.model, data)`, as for the state of
    `build_federated_averaging_process`, to the metrics that its training gives.
    """
    if not isinstance(model, KerasModel):
        if is_keras_model(model) or not callable(model):
            raise errors.not_a_program(type(model).__name__)
        from fedlang.learning.federated import build_evaluation  # it imports this module

        return build_evaluation(model)
    found = model.package.entry("evaluation")
    assert isinstance(found, Computation)
    return found


def _verify_number(name: str, given: Any) -> None:
    found = np.asarray(given)
    if found.ndim or found.dtype.kind not in "fiu" or not np.isfinite(found):
        raise errors.not_a_number(name, given)


def _recipe(algorithm: str, population: int | None, aggregator: str) -> Recipe:
    if algorithm not in RECIPES:
        raise errors.unknown_algorithm(algorithm, tuple(RECIPES))
    recipe = RECIPES[algorithm]
    if aggregator != PLAIN_MEAN and not recipe.takes_aggregator:
        raise errors.argument_of_another("aggregator", algorithm)
    if "population" in recipe.settings and population is None:
        raise errors.population_missing()
    if "population" not in recipe.settings and population is not None:
        raise errors.argument_of_another("population", algorithm)
    return recipe


def _imports(recipe: Recipe, aggregator: str) -> dict[str, frozenset[str]]:
    found = {recipe.module: frozenset({recipe.call.split("(")[0]})}
    if not recipe.takes_aggregator:
        return found
    return {**found, **aggregator_imports(aggregator), "learning.optimizers": frozenset({"sgd"})}


def aggregator_imports(aggregator: str) -> dict[str, frozenset[str]]:
    """What an expression for an aggregator needs, by module. Raises `DiagnosticError` for text that is none."""
    parse_expression(Source("<aggregator>", aggregator))
    used = set(re.findall(r"[A-Za-z_]\w*", aggregator)) & set(AGGREGATORS)
    return {
        module: frozenset(name for name in used if AGGREGATORS[name] == module)
        for module in {AGGREGATORS[name] for name in used}
    }


def _process(recipe: Recipe, settings: tuple[str, ...], aggregator: str, settles: bool) -> str:
    numbers = ", ".join(f"{name}: float32" for name in settings)
    call = recipe.call.replace("{aggregator}", aggregator).replace("{settle}", ", settle = settle" if settles else "")
    return f"process trained(initial: Weights, {numbers}) = {call}"
