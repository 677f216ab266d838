"""The mistakes of checking. Codes FED03xx (types) and FED04xx (places). One small function a mistake."""

from __future__ import annotations

from fedlang.diagnostics import Diagnostic, Edit, Label
from fedlang.source import Span
from fedlang.types.dtypes import DTYPES, FLOATS
from fedlang.types.solve import Mismatch
from fedlang.types.types import FunctionType, PlacedType, Type, TypeVariable, print_type


def _one(code: str, title: str, span: Span, label: str = "", hint: str = "", notes: tuple[str, ...] = ()) -> Diagnostic:
    return Diagnostic(code, title, (Label(span, label),), notes, hint)


def mismatch(span: Span, found: Mismatch, why: str, because: Span | None = None) -> Diagnostic:
    """A value of one type where another is wanted."""
    label, reason = _difference(found)
    labels = (Label(span, label), *((Label(because, why),) if because else ()))
    notes = tuple(text for text in (reason, "" if because else why) if text)
    return Diagnostic("FED0301", "types do not match", labels, notes)


def _difference(found: Mismatch, start: str = "", joined: str = ", not ", end: str = "") -> tuple[str, str]:
    """Where two types part, and why: the fields alone where those are the difference."""
    path = f"`{start}{found.path}`: " if start or found.path else ""
    if found.reason.startswith("field `"):
        return f"{path}{found.reason}", ""
    return f"{path}{_brief(found.actual)}{joined}{_brief(found.expected)}{end}", found.reason


def _brief(type: str) -> str:
    """A type as a label shows it: a long one by what kind of thing it is."""
    if len(type) <= 80:
        return type
    kind = "a record" if type.startswith("{") else "a placed value" if "@" in type[-9:] else "a tuple"
    return "a function" if type.startswith("(") and " -> " in type else kind


def bound_not_met(span: Span, found: Mismatch, why: str) -> Diagnostic:
    """A type argument, told by a value, that the bound of its type parameter does not allow."""
    path = f"`{found.path}`: " if found.path else ""
    title = f"{KINDS.get(found.bound, found.bound)} are needed here"
    hint = _cast_hint(found.actual, found.bound)
    return _one("FED0311", title, span, f"{path}this is {found.actual}", hint, (why,) if why else ())


# What a bound allows, in words.
KINDS = {"Float": "floats", "Int": "integers", "Number": "numbers"}
KINDS |= {bound.lower(): words for bound, words in KINDS.items()}


def _cast_hint(type: str, bound: str) -> str:
    """How to make a tensor of one dtype one that a bound allows."""
    dtype = type.split("[")[0]
    if dtype not in DTYPES or dtype in ("string", "Key"):
        return ""
    wanted = "float32" if bound.lower() == "float" else "int32"
    return f"convert it: `cast[{wanted}](…)`"


def unknown_field(span: Span, name: str, type: Type, fields: list[str], near: str | None) -> Diagnostic:
    """A field that a record does not have."""
    hint = f"did you mean `{near}`?" if near else (f"it has: {', '.join(fields)}" if fields else "")
    edit = Edit(span, near) if near else None
    return Diagnostic(
        "FED0302",
        f"no field `{name}`",
        (Label(span, f"the record has {', '.join(fields) or 'no fields'}"),),
        (),
        hint,
        edit=edit,
    )


def no_fields(span: Span, name: str, type: Type) -> Diagnostic:
    """A field of something that is no record."""
    return _one("FED0303", f"`.{name}` of something that is no record", span, f"this is {print_type(type)}")


def not_a_function(span: Span, type: Type) -> Diagnostic:
    """A call of something else than a function."""
    return _one("FED0304", "only functions can be called", span, f"this is {print_type(type)}")


def wrong_count(span: Span, name: str, given: int, wanted: str) -> Diagnostic:
    """Too many or too few arguments."""
    return _one("FED0305", f"{name} takes {wanted}", span, f"{given} given")


def missing_argument(span: Span, name: str, parameter: str, type: Type) -> Diagnostic:
    """A parameter without argument or default."""
    shown = f"`{parameter}: {print_type(type)}`" if parameter else f"an argument of type {print_type(type)}"
    wanted = f"`{parameter}`" if parameter else "more arguments"
    return _one("FED0306", f"{name} needs {wanted}", span, f"{shown} is not given")


def unknown_parameter(span: Span, name: str, word: str, near: str | None, known: list[str]) -> Diagnostic:
    """An argument by a name that no parameter has."""
    hint = (
        f"did you mean `{near}`?"
        if near
        else f"its parameters are {', '.join(known)}"
        if known
        else "its arguments have no names"
    )
    return _one("FED0307", f"{name} has no parameter `{word}`", span, hint=hint)


def argument_twice(span: Span, word: str) -> Diagnostic:
    """One parameter given twice."""
    return _one("FED0308", f"`{word}` is given twice", span)


def dtype_mix(span: Span, left: str, right: str) -> Diagnostic:
    """Arithmetic between two dtypes."""
    wanted = next((dtype for dtype in (left, right) if dtype in FLOATS), left)
    hint = f"convert one side: `cast[{wanted}](…)`"
    return _one(
        "FED0309", "dtypes do not match", span, f"{left} with {right}", hint, ("nothing is converted silently",)
    )


def dtype_wanted(span: Span, wanted: str, found: str) -> Diagnostic:
    """An operand of one dtype where an operation takes another."""
    hint = "compare it, as in `x != 0`" if wanted == "bool" else f"convert it: `cast[{wanted}](…)`"
    return _one("FED0309", "dtypes do not match", span, f"{found}, not {wanted}", hint)


def no_spread(span: Span, scalar: str, structure: str) -> Diagnostic:
    """A scalar that cannot take the dtypes of a record's leaves."""
    hint = "only a float scalar spreads, and over floats alone: `cast[float32](…)`"
    return _one("FED0309", "dtypes do not match", span, f"{scalar} with {_short(structure)}", hint)


def _short(type: str) -> str:
    return type if len(type) <= 60 else "a record" if type.startswith("{") else "a tuple"


def shape_mix(span: Span, left: str, right: str, reason: str) -> Diagnostic:
    """Shapes that cannot meet in one operation."""
    return _one("FED0310", "shapes do not match", span, f"{left} with {right}", notes=(reason,) if reason else ())


def bound_missed(span: Span, type: Type, bound: str, what: str) -> Diagnostic:
    """A type that a bound does not allow."""
    shown = print_type(type)
    if isinstance(type, TypeVariable) and bound in KINDS:
        hint = f"bound the type parameter: `{shown}: {bound}`"
    else:
        hint = _cast_hint(shown, bound) if bound in KINDS else ""
    return _one("FED0311", f"{what} needs {KINDS.get(bound, bound)}", span, f"this is {shown}", hint)


def unsolved(span: Span, name: str, parameter: str) -> Diagnostic:
    """A type argument that nothing determines."""
    return _one(
        "FED0312", f"the type `{parameter}` of `{name}` cannot be told here", span, hint=f"write it: `{name}[…]`"
    )


def unknown_here(span: Span) -> Diagnostic:
    """An operation on a value whose type is not known yet."""
    return _one(
        "FED0313",
        "the type is not known here",
        span,
        hint="write the type, as in `fn (x: float32) => …` or `zeros[Weights]()`",
    )


def literal_range(span: Span, text: str, dtype: str) -> Diagnostic:
    """A literal that its type cannot hold."""
    return _one("FED0314", f"{text} does not fit {dtype}", span)


def not_static(span: Span, parameter: str) -> Diagnostic:
    """A run-time value where a size must be known."""
    return _one("FED0315", f"{parameter} must be known when compiling", span, "a number or a size is needed here")


def shape_function(span: Span, reason: str) -> Diagnostic:
    """A shape that cannot be made."""
    return _one("FED0316", "the result has no shape", span, reason)


def recursion(span: Span, chain: list[str], *, of_types: bool = False) -> Diagnostic:
    """A declaration that needs itself."""
    title = "a type cannot contain itself" if of_types else "recursion is not allowed"
    hint = "a sequence, `T*`, holds any number of values" if of_types else "use `fold`, `scan` or `repeat`"
    return _one("FED0317", title, span, " → ".join(chain), hint)


def lambda_parameters(span: Span, given: int, wanted: int) -> Diagnostic:
    """A lambda with more or fewer parameters than it will be given."""
    words = f"a function of {wanted} parameter{'s' if wanted != 1 else ''} is wanted here"
    return _one("FED0305", words, span, f"this one has {given}")


def wrong_arguments(span: Span, name: str, given: int, wanted: int) -> Diagnostic:
    """Type arguments that do not fit their parameters."""
    return _one("FED0318", f"{name} takes {wanted} type argument{'s' if wanted != 1 else ''}", span, f"{given} given")


def no_type_arguments(span: Span, name: str, wanted: str = "") -> Diagnostic:
    """A type or size that is not one."""
    return _one("FED0319", f"`{name}` cannot stand here", span, wanted)


def no_brackets(span: Span, type: Type) -> Diagnostic:
    """Brackets after a type that has no axes."""
    return _one("FED0320", f"{print_type(type)} has no axes to put a size before", span)


def any_here(span: Span) -> Diagnostic:
    """`_` outside the type of a parameter."""
    return _one("FED0321", "`_` stands only in the type of a parameter", span)


def not_sequence(span: Span, type: Type) -> Diagnostic:
    """A loop over something that has no elements."""
    return _one(
        "FED0322", "this cannot be looped over", span, f"{print_type(type)} is neither a sequence nor has a first axis"
    )


def function_as_data(span: Span, where: str) -> Diagnostic:
    """A function where only data may be."""
    return _one(
        "FED0323", f"a function cannot be {where}", span, hint="functions are known when compiling; data is not"
    )


def nested_sequence(span: Span) -> Diagnostic:
    """A sequence whose elements hold sequences."""
    hint = "an element is made of tensors: pad it, or put one sequence behind the other"
    return _one("FED0340", "a sequence cannot be part of an element", span, hint=hint)


def no_record(span: Span, type: Type) -> Diagnostic:
    """`{..x}` where `x` is no record."""
    return _one("FED0341", "only a record can be spread", span, f"this is {print_type(type)}")


def bad_pattern(span: Span, type: Type, wanted: str) -> Diagnostic:
    """A pattern that does not fit its value."""
    return _one("FED0324", f"the pattern wants {wanted}", span, f"the value is {print_type(type)}")


def not_differentiable(span: Span, label: str) -> Diagnostic:
    """A gradient by, or of, something that is not made of floats."""
    hint = "a gradient is of a function whose first parameter is made of floats, and whose result is one float"
    return _one("FED0325", "no gradient can be taken here", span, label, hint)


def bad_index(span: Span, reason: str) -> Diagnostic:
    """An index that its tensor does not allow."""
    return _one("FED0326", "this index does not fit", span, reason)


def needs_bool(span: Span, type: Type) -> Diagnostic:
    """A condition that is not a bool."""
    return _one("FED0327", "a condition is a bool", span, f"this is {print_type(type)}")


def branches_differ(span: Span, found: Mismatch) -> Diagnostic:
    """Two sides of an `if` with different types."""
    label, reason = _difference(found, joined=" here, ", end=" above")
    return _one("FED0328", "the two branches have different types", span, label, notes=(reason,) if reason else ())


def state_differs(span: Span, found: Mismatch, because: Span) -> Diagnostic:
    """A process whose next state has another type than its first."""
    label, reason = _difference(found, start=".state")
    labels = (Label(span, label), Label(because, "the state begins here"))
    return Diagnostic("FED0329", "`next` does not keep the type of the state", labels, (reason,) if reason else ())


def unused(span: Span, name: str) -> Diagnostic:
    """A `let` that nothing reads."""
    hint = f"remove it, or call it `_{name}`; a line that starts with `(` or `-` does not continue the line above"
    return Diagnostic("FED0330", f"`{name}` is never used", (Label(span),), (), hint, "warning")


def no_state(span: Span, type: Type) -> Diagnostic:
    """`next` that gives no state."""
    return _one("FED0331", "`next` must give a record with the field `state`", span, f"it gives {print_type(type)}")


def no_method(span: Span, name: str, missing: str) -> Diagnostic:
    """A process without `initialize` or `next`."""
    return _one(
        "FED0332", f"process `{name}` has no `{missing}`", span, hint="every process has `initialize` and `next`"
    )


def not_a_process(span: Span, type: Type, missing: str = "") -> Diagnostic:
    """`process p = e` where `e` is no process."""
    reason = f"it has no `{missing}`" if missing else f"{_short(print_type(type))} is not a record of functions"
    return _one("FED0333", "this is no process", span, reason)


def effect_arguments(span: Span, kind: str, wanted: str) -> Diagnostic:
    """`expect`, `print` or `probe` with other arguments than they take."""
    return _one("FED0334", f"`{kind}` takes {wanted}", span)


def carry_differs(span: Span, found: Mismatch, because: Span) -> Diagnostic:
    """A loop whose body gives another type than it takes."""
    label, reason = _difference(found)
    labels = (Label(span, label), Label(because, "the loop starts from this"))
    return Diagnostic(
        "FED0335", "the loop's body does not keep the type of its state", labels, (reason,) if reason else ()
    )


def static_sum(span: Span, type: Type, movement: str) -> Diagnostic:
    """A federated sum or mean of what cannot be summed."""
    hint = "cast it: `cast[int32](…)` to count, `cast[float32](…)` to average"
    return _one("FED0336", f"{movement} cannot take this", span, f"it is {print_type(type)}", hint)


def no_parameter_type(span: Span, name: str) -> Diagnostic:
    """A parameter whose type nothing tells."""
    return _one("FED0337", f"the type of `{name}` must be written", span, hint=f"`{name}: Type`")


def key_twice(span: Span, first: Span, name: str) -> Diagnostic:
    """One key used by two draws, or drawn from and derived from."""
    labels = (Label(span, "used again here"), Label(first, "first used here"))
    hint = f"derive a key for each draw: `random.at({name}, 0)`, `random.at({name}, 1)`"
    return Diagnostic("FED0338", f"the draws from `{name}` are not independent", labels, (), hint, "warning")


def state_holds_function(span: Span, type: Type) -> Diagnostic:
    """A process whose state is not data."""
    return _one(
        "FED0323", "a function cannot be part of the state", span, f"this is {_short(print_type(type))}",
        "functions are known when compiling; data is not",
    )  # fmt: skip


def initialize_key(span: Span) -> Diagnostic:
    """`initialize` that does not take the key of the run."""
    return _one("FED0339", "`initialize` takes one key", span, hint="write `initialize(key: Key@SERVER)`")


# ---- places ----


def _side(type: Type) -> str:
    if isinstance(type, PlacedType) and isinstance(type.type, FunctionType):
        return f"this has captured values at {type.place}"
    return print_type(type)


def places_mix(span: Span, left: tuple[Span, Type], right: tuple[Span, Type]) -> Diagnostic:
    """One computation over values at the server and at the clients."""
    server, clients = (left, right) if isinstance(left[1], PlacedType) and left[1].place == "SERVER" else (right, left)
    labels = (Label(server[0], _side(server[1])), Label(clients[0], _side(clients[1])))
    word = server[0].text if len(server[0].text) < 40 else "…"
    hint = f"send it to the clients, `federated_broadcast({word})`, or aggregate the other side first"
    if isinstance(server[1], PlacedType) and isinstance(server[1].type, FunctionType):
        hint = "send what it captures to the clients first, with `federated_broadcast(…)`"
    return Diagnostic("FED0401", "values at two places in one computation", labels, (), hint)


def needs_broadcast(span: Span, type: Type, expected: str) -> Diagnostic:
    """A value at the server where the clients want one."""
    edit = Edit(span, f"federated_broadcast({span.text})")
    hint = "send it to the clients: `federated_broadcast(…)`"
    return Diagnostic(
        "FED0402",
        "this value is at the server",
        (Label(span, f"{print_type(type)}, not {expected}"),),
        (),
        hint,
        edit=edit,
    )


def needs_aggregate(span: Span, type: Type, expected: str) -> Diagnostic:
    """A value at the clients where the server wants one."""
    hint = "aggregate it: `federated_sum(…)` or `federated_mean(…)`"
    return _one("FED0403", "this value is at the clients", span, f"{print_type(type)}, not {expected}", hint)


def movement_inside(span: Span, where: str) -> Diagnostic:
    """A movement that would not happen once a round."""
    return _one(
        "FED0404",
        f"no data moves inside {where}",
        span,
        hint="a round is a fixed list of movements: do it before, and use the result",
    )


def movement_in_local(span: Span, name: str) -> Diagnostic:
    """A movement in a `fn`."""
    return _one(
        "FED0405",
        f"`{name}` moves data, and this is local code",
        span,
        hint="only `fed` functions and processes move data",
    )


def function_placed(span: Span, type: Type) -> Diagnostic:
    """A function made from a placed value."""
    return _one(
        "FED0406",
        "a function has no place",
        span,
        f"this would be {print_type(type)} made from placed data",
        "call it inside an `fn`, at the place of the data",
    )


def bundle(span: Span, type: Type) -> Diagnostic:
    """A computation with a record that lies at several places."""
    return _one(
        "FED0407", "this record lies at several places", span, f"{print_type(type)}", "take out the field that is meant"
    )


def unknown_place(span: Span, name: str) -> Diagnostic:
    """A place that there is not."""
    near = (
        name.upper()
        if name.upper() in ("SERVER", "CLIENTS")
        else {"CLIENT": "CLIENTS", "SERVERS": "SERVER"}.get(name.upper(), "")
    )
    hint = f"did you mean `{near}`?" if near else "the places are SERVER and CLIENTS"
    return _one("FED0408", f"unknown place `{name}`", span, hint=hint)


def nested_place(span: Span) -> Diagnostic:
    """A placed type inside data."""
    return _one(
        "FED0409", "a placed type cannot be part of this", span, hint="places stand outside: `<{x: float32}>@CLIENTS`"
    )


def each_server(span: Span) -> Diagnostic:
    """`<T>@SERVER`."""
    return _one("FED0410", "the server has one value", span, hint="write `T@SERVER`")


def collect_refused(span: Span) -> Diagnostic:
    """Raw client data moved without leave."""
    return _one(
        "FED0411",
        "`federated_collect` moves raw client data",
        span,
        hint="the root file must say `allow collect` on a line at its top",
    )


def place_in_local(span: Span) -> Diagnostic:
    """A placed type in a `fn`."""
    return _one(
        "FED0412",
        "a `fn` is local: its types have no place",
        span,
        hint="write `fed` for a function over placed values",
    )
