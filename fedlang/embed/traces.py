"""Bodies that are being traced: what was written down so far, and which body is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count

from fedlang.embed import errors
from fedlang.embed.places import caller_span
from fedlang.source import Span
from fedlang.syntax import tree

_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Declared:
    """A declaration made from Python, with those it needs."""

    def __init__(self, declaration: tree.Declaration, uses: Mapping[str, Declared], name: str) -> None:
        self.declaration = declaration
        self.uses = dict(uses)
        self.declared_name = name

    def all(self) -> dict[str, tree.Declaration]:
        """The declaration and everything it needs, by name."""
        found: dict[str, tree.Declaration] = {}
        for use in self.uses.values():
            found |= use.all()
        return {**found, self.declared_name: self.declaration}


class Trace:
    """One body being traced: its `let`s so far, and the declarations of others that it uses.

    `parent` is the trace around it, for a function value; `parameters` are those of a declaration; `allow` is what the
    program may do that others may not (`collect`).
    """

    def __init__(
        self,
        name: str,
        kind: str = "fed",
        parameters: tuple[tree.Parameter, ...] = (),
        *,
        parent: Trace | None = None,
        allow: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.parameters = parameters
        self.parent = parent
        self.allow = allow
        self.root: Trace = parent.root if parent is not None else self
        self.statements: list[tree.Statement] = []
        self.uses: dict[str, Declared] = {}
        self.is_placed = False  # whether something in it is, or may be, at a place
        self._numbers: Iterator[int] = parent._numbers if parent is not None else count()

    def use(self, declared: Declared) -> None:
        """Notes that the program needs another declaration."""
        self.root.uses[declared.declared_name] = declared
        if getattr(declared.declaration, "kind", "") == "fed":
            self.root.is_placed = True

    def fresh_name(self, span: Span) -> tree.Name:
        """A name that no other value of the program has."""
        return tree.Name(f"_{next(self._numbers)}", span)

    def let(self, value: tree.Expression) -> tree.Variable:
        """Names the value of an expression."""
        name = self.fresh_name(value.span)
        self.statements.append(tree.Let(tree.NamePattern(name, value.span), None, value, value.span))
        return tree.Variable(name, value.span)

    def block(self, result: tree.Expression, span: Span) -> tree.Block:
        """What was written down so far, with a result."""
        return tree.Block(tuple(self.statements), result, span)

    @contextmanager
    def open(self) -> Iterator[None]:
        """What is done inside is written into this trace."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def current_trace() -> Trace | None:
    """The body that is being traced, the innermost one."""
    return _current.get()


def active_trace(name: str) -> Trace:
    """As `current_trace`. Raises `DiagnosticError` where there is none."""
    trace = _current.get()
    if trace is None:
        raise errors.wrong_call(name, "it is called inside a traced program, on traced values", caller_span())
    return trace
