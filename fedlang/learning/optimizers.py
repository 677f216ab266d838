"""Optimizers of Keras as those of the library: gradient descent, with momentum or without, and Adam."""

from __future__ import annotations

from typing import Any

from fedlang.learning import errors

KNOWN = ("SGD", "SGD with momentum", "Adam")


def optimizer_of(given: Any) -> tuple[str, frozenset[str]]:
    """The expression that makes it, and the names it uses from `learning.optimizers`.

    `given` is an optimizer object or a name. Raises `DiagnosticError` for options that the library's have not.
    """
    import keras

    optimizer = keras.optimizers.get(given)
    config = optimizer.get_config()
    kind = type(optimizer).__name__
    rate = config.get("learning_rate")
    if not isinstance(rate, int | float) or any(config.get(option) for option in _UNUSED):
        raise errors.unknown_optimizer(_described(kind, config), KNOWN)
    number = repr(float(rate))
    if kind == "SGD" and not config.get("nesterov"):
        decay = float(config.get("momentum") or 0.0)
        name = "momentum" if decay else "sgd"
        return (f"momentum({number}, decay = {decay!r})" if decay else f"sgd({number})"), frozenset({name})
    if kind == "Adam" and not config.get("amsgrad"):
        options = ", ".join(f"{ours} = {float(config[theirs])!r}" for ours, theirs in _ADAM.items())
        return f"adam({number}, {options})", frozenset({"adam"})
    raise errors.unknown_optimizer(_described(kind, config), KNOWN)


_ADAM = {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "epsilon"}
_UNUSED = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


def _described(kind: str, config: dict[str, Any]) -> str:
    more = [f"{option} = {config[option]!r}" for option in (*_UNUSED, "nesterov", "amsgrad") if config.get(option)]
    if not isinstance(config.get("learning_rate"), int | float):
        more.append("a rate that changes with the step")
    return f"{kind} with {', '.join(more)}" if more else kind
