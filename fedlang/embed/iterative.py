"""`IterativeProcess`: two computations that belong together, as TensorFlow Federated had it.

    process = fl.utils.IterativeProcess(initialize_fn, next_fn)
    state = process.initialize()
    state, metrics = process.next(state, data)

Any other `Process`, such as one of a `.fed` file, has these already; wrapped, its rounds unpack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedlang.embed import errors
from fedlang.embed.computations import Computation, Process, Step, merge_client_state
from fedlang.embed.notebook import signatures_html
from fedlang.embed.records import Round
from fedlang.run.executor import Executor, Sink
from fedlang.run.rounds import Policy
from fedlang.types.solve import Solver
from fedlang.types.types import (
    KEY,
    SERVER,
    FunctionType,
    PlacedType,
    RecordType,
    TupleType,
    Type,
    print_type,
)

STATE = "state"


class IterativeProcess(Process):
    """`initialize: ( -> S)` and `next: (S, …) -> S`, or `-> (S, …)`, or `-> {state: S, …}`.

    Takes two computations, or one `Process`. Raises `DiagnosticError` where the states do not fit each other.
    """

    def __init__(self, initialize_fn: Computation | Process, next_fn: Computation | None = None) -> None:
        if isinstance(initialize_fn, Process) and next_fn is None:
            super().__init__(
                initialize_fn.name, initialize_fn._methods, initialize_fn.settings, initialize_fn._declared
            )
        else:
            first, following = _computations(initialize_fn, next_fn)
            super().__init__("process", {"initialize": first, "next": following}, {}, {})
        first, following = self.method("initialize"), self.method("next")
        self.state_type: Type = _state_type(following)
        _verify_fits(f"what `{first.name}` gives", first.type_signature.result, self.state_type)
        self._parts = _parts(following, self.state_type)

    @property
    def initialize(self) -> Step:
        """`initialize()` gives the first state. A computation that takes a key gets the seed, 0 when left out."""
        signature = self.method("initialize").type_signature
        taken = () if _takes_only_a_key(signature) else signature.parameters
        return Step("initialize", self._initialize, lambda: FunctionType(taken, signature.result))

    @property
    def next(self) -> Step:
        """`next(state, …)` gives the next state and what else there is, as a tuple with names."""
        signature = self.method("next").type_signature
        types = tuple(type for _, type in self._parts or ())
        result = TupleType(types) if types else signature.result
        return Step("next", self._next, lambda: FunctionType(signature.parameters, result))

    def _initialize(self, *args: Any, **kwargs: Any) -> Any:
        first = self.method("initialize")
        if not args and not kwargs and _takes_only_a_key(first.type_signature):
            args = (0,)
        return first(*args, **kwargs)

    def run_round(
        self,
        state: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
        *,
        executor: Executor | str | None = None,
        policy: Policy | None = None,
        sink: Sink | None = None,
    ) -> Any:
        """As `next`, with an executor, a policy for clients that fail, and a sink for what is printed."""
        found = self.method("next").run((state, *args), kwargs, executor=executor, policy=policy, sink=sink)
        if self._parts is None:
            return merge_client_state(state, found)
        names = [name for name, _ in self._parts]
        values = found if isinstance(found, tuple) else [found[name] for name in names]
        parts = dict(zip(names, values, strict=True))
        return Round({**parts, STATE: merge_client_state(state, parts[STATE])})

    def parts_of(self, found: Any) -> tuple[Any, Any]:
        """The next state, and the metrics, of what a round gives; without metrics, an empty mapping."""
        return (found, {}) if self._parts is None else (found.state, found._asdict().get("metrics", {}))

    def __repr__(self) -> str:
        return f"iterative process\n  initialize: {self.initialize.type_signature}\n  next: {self.next.type_signature}"

    def _repr_html_(self) -> str:
        signatures = {"initialize": self.initialize.type_signature, "next": self.next.type_signature}
        return signatures_html("iterative process", signatures)


def _computations(first: Computation | Process, following: Computation | None) -> tuple[Computation, Computation]:
    for given in (first, following):
        if not isinstance(given, Computation):
            raise errors.wrong_call("IterativeProcess", f"it takes computations, not {type(given).__name__}")
    assert isinstance(first, Computation) and isinstance(following, Computation)
    return first, following


def _takes_only_a_key(signature: FunctionType) -> bool:
    return [each.type for each in signature.parameters] == [PlacedType(SERVER, False, KEY)]


def _state_type(following: Computation) -> Type:
    parameters = following.type_signature.parameters
    if not parameters:
        raise errors.no_state(following.name, print_type(following.type_signature))
    return parameters[0].type


def _parts(following: Computation, state: Type) -> tuple[tuple[str, Type], ...] | None:
    """The names and types of what `next` gives, the state first; None where it gives the state alone."""
    result = following.type_signature.result
    if Solver().assign(result, state) is None:
        return None
    parts = _fields(result)
    if parts is None:
        raise errors.no_state(following.name, print_type(following.type_signature))
    _verify_fits(f"the state that `{following.name}` gives", parts[0][1], state)
    return parts


def _fields(type: Type) -> tuple[tuple[str, Type], ...] | None:
    match type:
        case PlacedType(place, each, inner):
            parts = _fields(inner)
            return None if parts is None else tuple((name, PlacedType(place, each, item)) for name, item in parts)
        case RecordType(fields) if type.field(STATE) is not None:
            return tuple(sorted(fields, key=lambda field: field[0] != STATE))
        case TupleType(items) if items:
            names = (STATE, "metrics") if len(items) == 2 else (STATE, *(f"part_{k}" for k in range(1, len(items))))
            return tuple(zip(names, items, strict=True))
        case _:
            return None


def _verify_fits(what: str, found: Type, wanted: Type) -> None:
    mismatch = Solver().assign(found, wanted)
    if mismatch is not None:
        raise errors.state_differs(what, mismatch.path, mismatch.actual, mismatch.expected, mismatch.reason)
