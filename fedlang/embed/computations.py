"""Computations and processes as Python calls them.

A `Computation` compiles on its first call, once for each executor, and is then a function. A `Process` has
`initialize` and `next` (and whatever methods it declares) and settings that can be changed without compiling again.
Per-client state is kept by client id in `ClientState`, a part of the state like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import cache
from typing import Any, Self

from fedlang.embed import errors
from fedlang.embed.notebook import signatures_html
from fedlang.embed.origins import Origin
from fedlang.embed.records import Record, is_equal
from fedlang.embed.values import decode, encode, packer_of
from fedlang.ir.program import Program
from fedlang.lower.entry import Lowered
from fedlang.names.nearest import nearest
from fedlang.pipeline import Compiled, Entry, Unit, compile_entry
from fedlang.run.clients import ClientData, ReadClients, clients_of
from fedlang.run.errors import unknown_client
from fedlang.run.executor import Executor, Sink
from fedlang.run.registry import get_executor
from fedlang.run.rounds import ClientValues, CompiledProgram, Inputs, Policy
from fedlang.run.sequences import LeafValue
from fedlang.types.types import (
    FunctionType,
    ParameterType,
    PlacedType,
    RecordType,
    SequenceType,
    TupleType,
    Type,
    print_type,
)


class ClientState:
    """What the clients keep of one field: each client's leaves, and what a client has the first time it takes part.

    A client's value is found by its id or its number; iteration gives the values. `DiagnosticError` FED0618 for the id
    of a client that has none.
    """

    __slots__ = ("first", "known", "type")

    def __init__(self, type: Type, first: list[LeafValue], known: Mapping[str, list[LeafValue]]) -> None:
        self.type = type
        self.first = first
        self.known = dict(known)

    def of(self, client_id: str) -> list[LeafValue]:
        """The leaves of one client."""
        return self.known.get(client_id, self.first)

    @property
    def is_shared(self) -> bool:
        """Whether it is one value, the same at every client."""
        return not self.known and bool(self.first)

    @property
    def shared(self) -> Any:
        """What a client has the first time it takes part."""
        return decode(self.type, iter(self.first))

    def __getitem__(self, client: str | int) -> Any:
        if isinstance(client, str) and client not in self.known and len(self.first) < count_leaves(self.type):
            raise unknown_client(client, tuple(self.known))
        leaves = self.of(client) if isinstance(client, str) else list(self.known.values())[client]
        return decode(self.type, iter(leaves))

    def __iter__(self) -> Iterator[Any]:
        return (decode(self.type, iter(leaves)) for leaves in self.known.values())

    def __len__(self) -> int:
        return len(self.known)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list | tuple):
            return is_equal(tuple(self), tuple(other))
        return isinstance(other, ClientState) and is_equal(
            (dict(self.known), self.first), (dict(other.known), other.first)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{print_type(self.type)}>@CLIENTS of {len(self.known)} clients"


class Computation:
    """Something that can be called. `type_signature` is its type; `name` what it is called in messages.

    `written` gives the module that declares it and its name there; `origins` are the models it was made of.
    """

    def __init__(
        self,
        name: str,
        written: Callable[[], tuple[Unit, Entry]],
        *,
        settings: Mapping[str, Any] | None = None,
        origins: tuple[Origin, ...] = (),
    ) -> None:
        self.name = name
        self.origins = origins
        self._written = cache(written)
        self._compile = cache(lambda: compile_entry(*self.written))
        self._ready: dict[int, tuple[Executor, CompiledProgram]] = {}
        self._settings = dict(settings or {})

    @property
    def written(self) -> tuple[Unit, Entry]:
        """The module that declares it, checked, and its name there."""
        return self._written()

    @property
    def compiled(self) -> Compiled:
        """The program and its signature; compiled when first asked for."""
        return self._compile()

    @property
    def program(self) -> Program:
        """The program in normal form."""
        return self.compiled.program

    @property
    def type_signature(self) -> FunctionType:
        """The type, which prints in the language's notation."""
        lowered = self.compiled.lowered
        return FunctionType(tuple(ParameterType(type, name) for name, type in lowered.parameters), lowered.result)

    def __repr__(self) -> str:
        return f"<{self.name}: {print_type(self.type_signature)}>"

    def _repr_html_(self) -> str:
        return signatures_html("", {self.name: self.type_signature})

    def with_settings(self, settings: Mapping[str, Any]) -> Computation:
        """The same program with other settings."""
        return self._again(self.name, {**self._settings, **settings})

    def named(self, name: str) -> Computation:
        """The same program under another name, with the language's own values: text is text."""
        return self._again(name, self._settings)

    def _again(self, name: str, settings: Mapping[str, Any]) -> Computation:
        other = Computation(name, self._written, settings=settings, origins=self.origins)
        other._compile, other._ready = self._compile, self._ready
        return other

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(args, kwargs)

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
        *,
        executor: Executor | str | None = None,
        policy: Policy | None = None,
        sink: Sink | None = None,
    ) -> Any:
        """A call with an executor and a policy of its own."""
        lowered = self.compiled.lowered
        values = _bind(self.name, lowered, args, kwargs or {})
        inputs = _inputs(lowered, self._settings, values)
        results = self._program(executor).run(inputs, policy=policy, sink=sink)
        return _decode_result(lowered.result, iter(results.leaves), values)

    def _program(self, executor: Executor | str | None) -> CompiledProgram:
        chosen = get_executor(executor) if executor is None or isinstance(executor, str) else executor
        if id(chosen) not in self._ready:
            self._ready[id(chosen)] = (chosen, CompiledProgram(self.program, chosen))
        return self._ready[id(chosen)][1]


def _bind(name: str, lowered: Lowered, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    names = [parameter for parameter, _ in lowered.parameters]
    if len(args) > len(names):
        raise errors.wrong_call(name, f"it takes {len(names)} arguments ({', '.join(names)}), {len(args)} were given")
    given = dict(zip(names, args, strict=False))
    for word, value in kwargs.items():
        if word not in names:
            near = nearest(word, names)
            raise errors.wrong_call(
                name, f"it has no parameter `{word}`" + (f"; did you mean `{near}`?" if near else "")
            )
        if word in given:
            raise errors.wrong_call(name, f"`{word}` is given twice")
        given[word] = value
    missing = [word for word in names if word not in given]
    if missing:
        raise errors.wrong_call(name, f"{', '.join(f'`{word}`' for word in missing)} not given")
    return [given[word] for word in names]


# ---- inputs ----


def _inputs(lowered: Lowered, settings: Mapping[str, Any], values: list[Any]) -> Inputs:
    leaves: list[LeafValue | None] = []
    readers: list[tuple[str, tuple[str, ...] | None, Callable[[str], list[LeafValue]]]] = []
    for name, type in lowered.settings:
        if name not in settings:
            raise errors.missing_setting(name, print_type(type))
        leaves += encode(type, settings[name], name)
    for (name, type), value in zip(lowered.parameters, values, strict=True):
        _add_argument(name, type, value, leaves, readers)
    if not readers:
        return Inputs(tuple(leaves))
    named = [(name, ids) for name, ids, _ in readers if ids is not None]
    for name, ids in named[1:]:
        if set(ids) != set(named[0][1]):
            raise errors.clients_differ(named[0][0], name)
    clients = named[0][1] if named else ()
    return Inputs(
        tuple(leaves), ReadClients(clients, lambda client: [leaf for _, _, read in readers for leaf in read(client)])
    )


def _add_argument(
    name: str,
    type: Type,
    value: Any,
    leaves: list[LeafValue | None],
    readers: list[tuple[str, tuple[str, ...] | None, Callable[[str], list[LeafValue]]]],
) -> None:
    """One argument: leaves for the server, a reader for the clients. A bundle is taken field by field."""
    match type:
        case PlacedType("CLIENTS", True, inner):
            leaves += [None] * count_leaves(inner)
            if isinstance(value, ClientState):
                readers.append((name, None, value.of))
            else:
                readers.append(_client_reader(name, inner, value))
        case RecordType(fields) if any(isinstance(t, PlacedType | RecordType) for _, t in fields) and isinstance(
            value, Mapping
        ):
            missing = [n for n, _ in fields if n not in value]
            extra = [n for n in value if n not in dict(fields)]
            if missing or extra:
                raise errors.wrong_fields(name, missing, extra)
            for field, kind in sorted(fields):
                _add_argument(f"{name}.{field}", kind, value[field], leaves, readers)
        case _:
            leaves += encode(type, value, name)


def _client_reader(name: str, type: Type, value: Any) -> tuple[str, tuple[str, ...], Callable[[str], list[LeafValue]]]:
    if isinstance(value, str | bytes) or not (hasattr(value, "__iter__") or isinstance(value, ClientData)):
        hint = "give a list with a value for each client, or a mapping from client ids"
        raise errors.wrong_value(
            name, f"{value.__class__.__name__} {value!r:.60}", f"<{print_type(type)}>@CLIENTS", hint
        )
    data = clients_of(value)
    pack = packer_of(type.element, name) if isinstance(type, SequenceType) else None

    def read(client: str) -> list[LeafValue]:
        given = data.client(client)
        packed = None if pack is None else pack(given)
        return encode(type, given, f"{name} of client {client}") if packed is None else packed

    return name, tuple(data.client_ids), read


def count_leaves(type: Type) -> int:
    """How many leaves a value of the type has."""
    match type:
        case PlacedType(_, _, inner):
            return count_leaves(inner)
        case RecordType(fields):
            return sum(count_leaves(item) for _, item in fields)
        case TupleType(items):
            return sum(count_leaves(item) for item in items)
        case _:
            return count_leaves(type.element) if isinstance(type, SequenceType) else 1


# ---- results ----


def _decode_result(type: Type, leaves: Any, values: list[Any]) -> Any:
    match type:
        case PlacedType("CLIENTS", _, inner):
            return _client_result(inner, [next(leaves) for _ in range(count_leaves(inner))])
        case RecordType(fields):
            found = {name: _decode_result(kind, leaves, values) for name, kind in sorted(fields, key=lambda f: f[0])}
            return Record({name: found[name] for name, _ in fields})
        case TupleType(items):
            return tuple(_decode_result(item, leaves, values) for item in items)
        case _:
            return decode(type, leaves)


def _client_result(type: Type, found: list[Any]) -> Any:
    """A result at the clients: a value for each, by id; what is the same at all of them is one value."""
    if not any(isinstance(leaf, ClientValues) for leaf in found):
        return ClientState(type, found, {})
    ids = next(leaf.ids for leaf in found if isinstance(leaf, ClientValues))
    columns = [leaf.values if isinstance(leaf, ClientValues) else (leaf,) * len(ids) for leaf in found]
    return ClientState(
        type, [], {client: list(row) for client, row in zip(ids, zip(*columns, strict=True), strict=True)}
    )


def merge_client_state(old: Any, new: Any) -> Any:
    """The next state: clients that took no part keep what they had."""
    if isinstance(new, ClientState) and isinstance(old, ClientState):
        return ClientState(new.type, old.first, {**old.known, **new.known})
    if isinstance(new, Record) and isinstance(old, Mapping):
        return Record({name: merge_client_state(old.get(name), value) for name, value in new.items()})
    if isinstance(new, tuple) and isinstance(old, tuple):
        return tuple(merge_client_state(a, b) for a, b in zip(old, new, strict=True))
    return new


class Step:
    """`initialize` or `next` of a process: a function with the `type_signature` of the computation behind it."""

    def __init__(self, name: str, call: Callable[..., Any], signature: Callable[[], FunctionType]) -> None:
        self.__name__ = self.name = name
        self._call = call
        self._signature = signature

    @property
    def type_signature(self) -> FunctionType:
        """The type; `str` prints it in the language's notation, `to_tff()` in that of TensorFlow Federated."""
        return self._signature()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.type_signature}>"

    def _repr_html_(self) -> str:
        return signatures_html("", {self.name: self.type_signature})


class Process:
    """A process: `initialize(seed)`, `next(state, data)`, its other methods, and its settings."""

    def __init__(
        self,
        name: str,
        methods: Mapping[str, Computation],
        settings: Mapping[str, Any],
        declared: Mapping[str, Type],  # a setting without a default has no value yet
    ) -> None:
        self.name = name
        self._declared = dict(declared)
        self._methods = dict(methods)
        self.settings = Record(settings)

    def with_settings(self, **changes: Any) -> Self:
        """The same process with other settings. Nothing is compiled again. Raises `DiagnosticError` for a setting that
        there is not, or a value that is not of its type."""
        for word, value in changes.items():
            if word not in self._declared:
                near = nearest(word, list(self._declared))
                hint = f"; did you mean `{near}`?" if near else f"; it has: {', '.join(self._declared) or 'none'}"
                raise errors.wrong_call(self.name, f"it has no setting `{word}`{hint}")
            encode(self._declared[word], value, word)
        other = copy(self)
        other._methods = {name: method.with_settings(changes) for name, method in self._methods.items()}
        other.settings = Record({**self.settings, **changes})
        return other

    def named(self, name: str) -> Self:
        """The same process under another name."""
        other = copy(self)
        other.name = name
        other._methods = {word: method.named(f"{name}.{word}") for word, method in self._methods.items()}
        return other

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The models it was made of."""
        return tuple(dict.fromkeys(origin for method in self._methods.values() for origin in method.origins))

    def method(self, name: str) -> Computation:
        """One method as a computation."""
        return self._methods[name]

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of its methods."""
        return tuple(self._methods)

    @property
    def initialize(self) -> Step:
        """`initialize(seed)` gives the first state. Its key is a seed, 0 when left out."""
        return Step(f"{self.name}.initialize", self._initialize, lambda: self._methods["initialize"].type_signature)

    def _initialize(self, *args: Any, **kwargs: Any) -> Any:
        method = self._methods["initialize"]
        if not args and not kwargs and method.compiled.lowered.parameters:
            args = (0,)
        return method(*args, **kwargs)

    @property
    def next(self) -> Step:
        """`next(state, …)` is one round: a record with the next `state`, and what else the process gives."""
        return Step(f"{self.name}.next", self._next, lambda: self._methods["next"].type_signature)

    def _next(self, state: Any, *args: Any, **kwargs: Any) -> Any:
        return self.run_round(state, args, kwargs)

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
        found = self._methods["next"].run((state, *args), kwargs, executor=executor, policy=policy, sink=sink)
        return Record({**found, "state": merge_client_state(state, found["state"])})

    def parts_of(self, found: Any) -> tuple[Any, Any]:
        """The next state, and the metrics, of what a round gives; without metrics, an empty mapping."""
        return found["state"], found.get("metrics", {})

    def __getattr__(self, name: str) -> Any:
        methods = self.__dict__.get("_methods", {})
        if name in methods:
            return methods[name]
        raise AttributeError(
            f"process {self.__dict__.get('name')} has no method `{name}`; it has: {', '.join(methods)}"
        )

    def __repr__(self) -> str:
        lines = [f"  {name}: {print_type(method.type_signature)}" for name, method in self._methods.items()]
        return "\n".join([f"process {self.name}", *lines])

    def _repr_html_(self) -> str:
        return signatures_html(
            f"process {self.name}", {name: method.type_signature for name, method in self._methods.items()}
        )
