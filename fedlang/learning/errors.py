"""What a Keras model may have that cannot be translated. One function a mistake; codes FED10xx."""

from __future__ import annotations

from collections.abc import Sequence

from fedlang.diagnostics import Diagnostic, DiagnosticError


def _error(code: str, title: str, *notes: str, hint: str = "") -> DiagnosticError:
    return DiagnosticError(Diagnostic(code, title, notes=tuple(note for note in notes if note), hint=hint))


def unknown_layer(name: str, kind: str, known: Sequence[str]) -> DiagnosticError:
    """A layer without a row in the table."""
    title = f"the layer `{name}` is a {kind}, which has no translation"
    return _error("FED1001", title, f"the layers that have one: {', '.join(known)}")


def own_layer(name: str, kind: str, known: Sequence[str]) -> DiagnosticError:
    """A layer of a class that is not Keras's: its name says nothing of what it computes."""
    title = f"the layer `{name}` is a {kind} of its own, which has no translation"
    return _error("FED1001", title, f"the layers that have one are Keras's {', '.join(known)}")


def not_a_keras_model(found: str) -> DiagnosticError:
    """Something that is no Keras 3 model, a legacy `tf_keras` model for one."""
    return _error("FED1002", f"a {found} is no Keras 3 model", hint="give a `keras.Sequential` or `keras.Model`")


def subclassed_model(kind: str, known: Sequence[str]) -> DiagnosticError:
    """A model whose `call` is Python code: there are no layers to read."""
    return _error(
        "FED1003",
        f"{kind} is a class of its own, so its layers cannot be followed",
        f"the layers that have a translation: {', '.join(known)}",
        hint="build it as `keras.Sequential` or from inputs and outputs",
    )


def several_ends(model: str, inputs: int, outputs: int) -> DiagnosticError:
    """A model that is not from one input to one output."""
    title = f"`{model}` has {_counted(inputs, 'input')} and {_counted(outputs, 'output')}"
    return _error("FED1004", title, "translated are models from one input to one output")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def unsupported_option(layer: str, kind: str, option: str, value: object, wanted: str) -> DiagnosticError:
    """A layer whose options mean something that is not translated."""
    return _error("FED1005", f"`{layer}` is a {kind} with {option} = {value!r}", f"translated is {wanted}")


def names_clash(first: str, second: str, field: str) -> DiagnosticError:
    """Two names that are the same field once other characters are `_`."""
    return _error(
        "FED1006", f"`{first}` and `{second}` are both the field `{field}`", hint="give one of the layers another name"
    )


def nothing_to_train(model: str) -> DiagnosticError:
    """A model without weights."""
    return _error("FED1007", f"`{model}` has no weights")


def unknown_loss(found: str, known: Sequence[str]) -> DiagnosticError:
    """A loss without a row in the table."""
    return _error("FED1008", f"the loss {found} has no translation", f"the losses that have one: {', '.join(known)}")


def no_loss(model: str) -> DiagnosticError:
    """Neither a loss nor a compiled model."""
    return _error("FED1009", f"`{model}` has no loss", hint='give `loss="…"`, or call `model.compile(loss="…")` first')


def loss_without_activation(loss: str, wanted: str, found: str) -> DiagnosticError:
    """A cross entropy of probabilities, at the end of a model that does not give probabilities."""
    return _error(
        "FED1010",
        f"{loss} is of probabilities, but the model ends in {found}",
        hint=f"end the model in {wanted}, or say `from_logits=True`",
    )


def unknown_metric(found: str, loss: str, known: Sequence[str]) -> DiagnosticError:
    """A metric that cannot be had beside the loss."""
    return _error("FED1011", f"the metric {found} has no translation beside {loss}", f"there is {', '.join(known)}")


def unreadable_spec(found: str) -> DiagnosticError:
    """An input spec or a batch that is not two parts with shapes."""
    return _error(
        "FED1012", f"{found} does not say what `x` and `y` are", hint="give two: `(x, y)` or `{'x': …, 'y': …}`"
    )


def unknown_size(model: str, shape: Sequence[object]) -> DiagnosticError:
    """An input whose size is not known."""
    return _error(
        "FED1013",
        f"the input of `{model}` has the shape {list(shape)}",
        "only the first size, that of the batch, may be unknown",
        hint="give the sizes in `keras.Input(shape=…)` or in `input_spec`",
    )


def labels_do_not_fit(loss: str, found: Sequence[int], wanted: Sequence[Sequence[int]]) -> DiagnosticError:
    """Labels of a shape that the loss does not take."""
    shapes = " or ".join(str(list(each)) for each in wanted)
    return _error("FED1014", f"{loss} cannot take labels of shape {list(found)} an example", f"it takes {shapes}")


def weights_do_not_fit(missing: Sequence[str], extra: Sequence[str], shapes: Sequence[str]) -> DiagnosticError:
    """Weights that are not those of the model."""
    return _error(
        "FED1015",
        "the weights are not those of the model",
        f"missing: {', '.join(missing)}" if missing else "",
        f"unknown: {', '.join(extra)}" if extra else "",
        *shapes,
    )


def unknown_algorithm(found: str, known: Sequence[str]) -> DiagnosticError:
    """An algorithm that there is none of."""
    return _error("FED1016", f"no algorithm is called `{found}`", f"there is {', '.join(known)}")


def argument_of_another(argument: str, algorithm: str) -> DiagnosticError:
    """An argument that the algorithm does not have."""
    return _error("FED1017", f"{algorithm} does not take `{argument}`")


def population_missing() -> DiagnosticError:
    """SCAFFOLD without the number of clients."""
    hint = "give `population=…`, the number of clients there are"
    return _error("FED1018", "scaffold has to know how many clients there are", hint=hint)


def metric_is_no_sum(metric: str, variable: str, reason: str) -> DiagnosticError:
    """A metric whose variables do not begin at zero or do not add up, so that clients' cannot be added up."""
    return _error(
        "FED1019",
        f"the metric `{metric}` cannot be summed over clients",
        f"its variable `{variable}` {reason}",
        hint="use a metric whose variables are sums, such as a mean or counts",
    )


def metrics_of_several(names: Sequence[str]) -> DiagnosticError:
    """Metrics for a model with several outputs."""
    return _error(
        "FED1020",
        f"of a model with several outputs there is only the loss, not {', '.join(names)}",
        hint="leave out `metrics`, or train a model with the one output that they are about",
    )


def spec_missing(model: str) -> DiagnosticError:
    """A model whose inputs nobody has described."""
    return _error(
        "FED1021",
        f"what a batch of `{model}` is cannot be seen",
        "its inputs are made by Python code, or it has several outputs and `loss` is not in their form",
        hint="give `input_spec=(x, y)`: specs, or arrays of a sample batch",
    )


def kept_otherwise(model: str, constraints: Sequence[str], stateful: Sequence[str]) -> str:
    """The warning for a called model of what Keras would do between the steps of its own training."""
    said = [f"the constraint of `{name}` is not kept to" for name in constraints]
    said += [f"`{name}` is stateful, but begins each batch in the state that it has now" for name in stateful]
    return f"the model `{model}` is called as it is, and nothing is done between steps: {'; '.join(said)}"


def model_failed(model: str, reason: str) -> DiagnosticError:
    """A model that Keras cannot call with a batch of the spec."""
    return _error(
        "FED1022",
        f"Keras cannot run `{model}` on a batch",
        *[line.strip() for line in reason.splitlines() if line.strip()][:4],
        hint="see that `input_spec` is what the model takes, and `loss` and `metrics` fit what it gives",
    )


def several_parts(model: str) -> DiagnosticError:
    """Inputs or labels of several parts, where a translation takes one of each."""
    title = f"batches of `{model}` have several inputs or labels"
    return _error("FED1004", title, "translated are models from one input to one output")


def unknown_statistics(found: str) -> DiagnosticError:
    """A policy for statistics that there is none of."""
    return _error("FED1023", f"statistics are not `{found}`", "they are `averaged` or `kept`")


def not_a_model(found: str) -> DiagnosticError:
    """What `model_fn` gave is neither a Keras model as a program nor a class with variables."""
    return _error(
        "FED1024",
        f"`model_fn` gives a {found}, which is no model",
        hint="give what `from_keras_model` gives, or a `fl.learning.Model`",
    )


def not_a_model_function(found: str) -> DiagnosticError:
    """A model where a function that makes one is taken."""
    return _error(
        "FED1024",
        f"a {found} is no function that makes a model",
        hint="give a function without arguments: `lambda: from_keras_model(network, loss=…)`",
    )


def not_trainable(name: str) -> DiagnosticError:
    """Federated averaging of a class that cannot train itself."""
    return _error(
        "FED1025",
        f"`{name}` has no `train_on_batch`",
        "federated averaging lets each client train on its own",
        hint="derive it from `fl.learning.TrainableModel`; or use `build_federated_sgd_process`, which needs no more",
    )


def report_without_names(model: str, found: str) -> DiagnosticError:
    """Local outputs that are no record."""
    return _error(
        "FED1026",
        f"`{model}.report_local_outputs` gives a {found}",
        hint="give a mapping of names to numbers or tensors",
    )


def unknown_optimizer(found: str, known: Sequence[str]) -> DiagnosticError:
    """An optimizer of Keras that the library has none like."""
    return _error("FED1027", f"the optimizer {found} has no counterpart", f"there is {', '.join(known)}")


def unreadable_batch(found: str) -> DiagnosticError:
    """An input spec of a class whose parts are no specs."""
    return _error(
        "FED1028",
        f"`input_spec` has {found} where a spec should be",
        hint="give a mapping or tuple of `tf.TensorSpec`s, the first size `None`",
    )


def not_a_summary(name: str) -> DiagnosticError:
    """An output computation that is no computation of the language."""
    return _error(
        "FED1029",
        f"`{name}.federated_output_computation` is no computation",
        hint="write it as a function under `@fl.federated_computation`",
    )


def loss_weights_do_not_fit(found: object) -> DiagnosticError:
    """Factors of losses that are not in the form of the losses."""
    return _error(
        "FED1030",
        f"`loss_weights` are {found!r}, which does not fit `loss`",
        hint="give a number for each loss in the form of `loss`: one number, a list, or a mapping with the same names",
    )


def metric_name_taken(name: str) -> DiagnosticError:
    """A metric that is called as something else that a model gives."""
    return _error(
        "FED1031",
        f"a metric is called `{name}`, as something else beside it is",
        hint='give it another name, as in `keras.metrics.Precision(name="…")`',
    )


def not_a_program(found: str) -> DiagnosticError:
    """A Keras model, or something else, where what `from_keras_model` gives is taken."""
    return _error(
        "FED1032",
        f"a {found} is no program",
        hint="call `model = from_keras_model(network, loss=…)` first, and give `model`",
    )


def not_a_number(setting: str, found: object) -> DiagnosticError:
    """A setting of an algorithm that is no finite number."""
    return _error("FED1033", f"`{setting}` is {found!r}", hint=f"give a number: `{setting}=0.1`")


def spec_does_not_fit(found: str, wanted: str) -> DiagnosticError:
    """An input spec that is none of the model."""
    return _error("FED1034", f"`input_spec` {found}", wanted, hint="give the specs, or arrays, of a batch of the model")
