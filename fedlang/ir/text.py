"""Graphs as text, and back: `parse_graph(print_graph(graph)) == graph`, up to the ids of sizes that print alike.

One node a line; the graphs inside attributes are indented.

    graph {
      %0 = parameter "x" {index = 0} : float32[n, 784] @clients
      %1 = matmul(%0, %0) {transpose_a = true, transpose_b = false} : float32[784, 784] @clients
      results %1
    }

Sizes read as in the language, except that an exact quotient is `exact(a / b)`. Of the names that print alike, in the
order of their ids, the second is `n'2`, the third `n'3`; they are parsed to ids 0, 2, 3. Unknown sizes are `?`, `?'2`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import TypeVar

from fedlang.ir.graph import Attribute, Graph, LeafType, Node, NodeType, Sequence, Tensor
from fedlang.ir.program import Aggregate, Phase, Program, Slot
from fedlang.types.dims import Atom, Dim, Named, Quotient, Size, Solvable, Unknown, add, divide, multiply, of_atom

Names = dict[Atom, str]
T = TypeVar("T")


def print_graph(graph: Graph) -> str:
    """The graph as text."""
    return "\n".join(_graph_lines(graph, size_names((graph,)), "graph {"))


def print_node(graph: Graph, index: int) -> str:
    """One line for one node, for messages."""
    return _node_lines(graph, index, size_names((graph,)), {})[0]


def print_type(type: NodeType, names: Names | None = None) -> str:
    """A type: `float32[n, 10]`, `float32[n, 784]*[m]` for a sequence of m, `(float32, int32[n])` for several."""
    names = {} if names is None else names
    if isinstance(type, tuple):
        return _tuple([print_type(leaf, names) for leaf in type])
    if isinstance(type, Sequence):
        return f"{print_type(type.element, names)}*[{_size(type.length, names)}]"
    return type.dtype + (f"[{', '.join(_size(size, names) for size in type.shape)}]" if type.shape else "")


def _tuple(parts: list[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


# Sizes. Names of sizes are given out before printing, in the order of their ids, so that parsing keeps that order.


def size_names(graphs: Iterable[Graph]) -> Names:
    """A text for every name of a size in the graphs, different for different names."""
    atoms: set[Atom] = set()
    for graph in graphs:
        for node in graph.nodes:
            _collect(node.type, atoms)
            for _, value in node.attributes:
                _collect(value, atoms)
    return _name_all(atoms)


def _collect(value: Attribute | NodeType, atoms: set[Atom]) -> None:
    match value:
        case Dim(terms):
            for atom in (atom for product, _ in terms for atom in product):
                atoms.add(atom)
                if isinstance(atom, Quotient):
                    _collect(atom.dividend, atoms)
                    _collect(atom.divisor, atoms)
        case Tensor(_, shape):
            _collect(shape, atoms)
        case Sequence(element, length):
            _collect((element, length), atoms)
        case Graph(nodes):
            for node in nodes:
                _collect(node.type, atoms)
                _collect(tuple(each for _, each in node.attributes), atoms)
        case tuple():
            for each in value:
                _collect(each, atoms)
        case _:
            pass


def _name_all(atoms: set[Atom]) -> Names:
    names: Names = {}
    count: dict[str, int] = {}
    for atom in sorted((atom for atom in atoms if not isinstance(atom, Quotient)), key=_id):
        base = atom.name if isinstance(atom, Named) else "?" if isinstance(atom, Unknown) else "_"
        count[base] = count.get(base, 0) + 1
        names[atom] = base if count[base] == 1 else f"{base}'{count[base]}"
    return names


def _id(atom: Atom) -> int:
    return 0 if isinstance(atom, Quotient) else atom.id


def _size(size: Size, names: Names) -> str:
    if isinstance(size, int):
        return str(size)
    text = ""
    for atoms, number in size.terms:
        factors = [_atom(atom, names) for atom in atoms]
        if abs(number) != 1 or not factors:
            factors.insert(0, str(abs(number)))
        shown = factors[0] if len(factors) == 1 else f"product({', '.join(factors)})"
        sign = "-" if number < 0 else "+" if text else ""
        text += f" {sign} {shown}" if text else f"{sign}{shown}"
    return text


def _atom(atom: Atom, names: Names) -> str:
    if isinstance(atom, Quotient):
        return f"{atom.kind}({_size(atom.dividend, names)} / {_size(atom.divisor, names)})"
    return names.get(atom) or (atom.name if isinstance(atom, Named) else "?")


# Nodes and attributes.


def _graph_lines(graph: Graph, names: Names, head: str) -> list[str]:
    parameters = dict(zip(graph.parameters, graph.names, strict=False))
    lines = [head]
    for index in range(len(graph.nodes)):
        lines += [f"  {line}" for line in _node_lines(graph, index, names, parameters)]
    lines += [f"  {word} {_references(those)}" for word, those in _endings(graph) if those]
    return [*lines, "}"]


def _endings(graph: Graph) -> tuple[tuple[str, tuple[int, ...]], ...]:
    usual = tuple(index for index, node in enumerate(graph.nodes) if node.op == "parameter")
    changed = graph.parameters if graph.parameters != usual else ()
    return (("parameters", changed), ("effects", graph.effects), ("results", graph.results))


def _references(indices: tuple[int, ...]) -> str:
    return ", ".join(f"%{index}" for index in indices)


def _node_lines(graph: Graph, index: int, names: Names, parameters: dict[int, str]) -> list[str]:
    node = graph.nodes[index]
    inputs = f"({_references(node.inputs)})" if node.inputs else ""
    title = f" {json.dumps(parameters[index])}" if parameters.get(index) else ""
    lines = [f"%{index} = {node.op}{inputs}{title}"]
    if node.attributes:
        _append(lines, " {")
        for count, (name, value) in enumerate(node.attributes):
            _append(lines, f"{', ' if count else ''}{name} = ")
            _append(lines, *_attribute_lines(value, names))
        _append(lines, "}")
    place = f" @{node.place}" if node.place else ""
    _append(lines, f" : {print_type(node.type, names)}{place}")
    return lines


def _append(lines: list[str], first: str, *rest: str) -> None:
    lines[-1] += first
    lines += rest


def _attribute_lines(value: Attribute, names: Names) -> list[str]:
    if isinstance(value, Graph):
        return _graph_lines(value, names, "graph {")
    return [_attribute(value, names)]


def _attribute(value: Attribute, names: Names) -> str:
    match value:
        case None | bool():
            return {None: "none", True: "true", False: "false"}[value]
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value)
        case Dim():
            return f"[{_size(value, names)}]"
        case Tensor() | Sequence():
            return print_type(value, names)
        case Graph():
            return " ".join(line.strip() for line in _graph_lines(value, names, "graph {"))
        case tuple():
            return _tuple([_attribute(each, names) for each in value])


# Programs. Their text is for people: it has no parser.


def print_program(program: Program) -> str:
    """A program in normal form: its inputs, each phase's pieces with the slots of their parameters, the results."""
    pieces = (graph for phase in program.phases for graph in (phase.prepare, phase.work))
    names = size_names((*pieces, program.finish))
    lines = ["program {", "  inputs {"]
    for (type, place), name in zip(program.inputs, program.input_names, strict=True):
        lines.append(f"    {name or '_'} : {print_type(type, names)}{f' @{place}' if place else ''}")
    lines.append("  }")
    for number, phase in enumerate(program.phases):
        lines += [f"  {line}" for line in _phase_lines(number, phase, names)]
    lines += [f"  {line}" for line in _piece_lines("finish", program.finish, program.finish_slots, names)]
    lines.append(f"  results {', '.join(map(print_slot, program.results))}")
    return "\n".join([*lines, "}"])


def print_slot(slot: Slot) -> str:
    """A slot: `input 2`, `aggregate 0 of phase 1`, `identity`."""
    if slot.kind == "identity":
        return slot.kind
    return f"{slot.kind} {slot.index}" + ("" if slot.kind in ("input", "finish") else f" of phase {slot.phase}")


def _phase_lines(number: int, phase: Phase, names: Names) -> list[str]:
    lines = [f"phase {number} {{"]
    lines += [f"  {line}" for line in _piece_lines("prepare", phase.prepare, phase.prepare_slots, names)]
    lines.append(f"  broadcast the first {phase.broadcasts}")
    lines += [f"  {line}" for line in _piece_lines("work", phase.work, phase.work_slots, names)]
    return [*lines, *(f"  {_aggregate(each, names)}" for each in phase.aggregates), "}"]


def _aggregate(aggregate: Aggregate, names: Names) -> str:
    parts = [f"{aggregate.kind} of {', '.join(map(str, aggregate.values))}"]
    parts += [f"weight {aggregate.weight}"] if aggregate.weight >= 0 else []
    parts += [f"otherwise {aggregate.otherwise}"] if aggregate.otherwise >= 0 else []
    path = f" {json.dumps(aggregate.path)}" if aggregate.path else ""
    return f"aggregate{path} {', '.join(parts)} : {print_type(aggregate.type, names)}"


def _piece_lines(title: str, graph: Graph, slots: tuple[Slot, ...], names: Names) -> list[str]:
    given = ", ".join(map(print_slot, slots))
    return _graph_lines(graph, names, f"{title}({given}) {{")


# Parsing: tokens, then one function for each form.

TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?(?:inf\b|nan\b|\d+(?:\.\d+)?(?:e[+-]?\d+)?))'
    r"|(?P<name>[A-Za-z_]\w*(?:'\d+)?|\?(?:'\d+)?)|(?P<mark>[%(){}\[\],=:@*/+-]))"
)


class GraphSyntaxError(ValueError):
    """The text is no graph."""


@dataclass
class _Reader:
    """The tokens that are left."""

    tokens: list[tuple[str, str]]
    at: int = 0

    @property
    def next(self) -> str:
        """The token to come; "" at the end."""
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    @property
    def kind(self) -> str:
        """What the token to come is."""
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        """The token to come, which must be `expected` where that is given."""
        token = self.next
        if not token or (expected and token != expected):
            raise GraphSyntaxError(f"expected {expected or 'more'}, found {token or 'the end'} (token {self.at})")
        self.at += 1
        return token

    def accept(self, token: str) -> bool:
        """Takes the token if it is next."""
        if self.next != token:
            return False
        self.at += 1
        return True


def parse_graph(text: str) -> Graph:
    """The graph a text shows. `GraphSyntaxError` where it shows none."""
    reader = _Reader(_tokens(text))
    graph = _parse_graph(reader)
    if reader.next:
        raise GraphSyntaxError(f"expected the end, found {reader.next}")
    return graph


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise GraphSyntaxError(f"cannot read {text[at : at + 20]!r}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return tokens


def _parse_graph(reader: _Reader) -> Graph:
    reader.take("graph")
    reader.take("{")
    nodes: list[Node] = []
    titles: dict[int, str] = {}
    while reader.next == "%":
        nodes.append(_parse_node(reader, len(nodes), titles))
    parameters = tuple(index for index, node in enumerate(nodes) if node.op == "parameter")
    parameters = _parse_references(reader, "parameters") or parameters
    effects, results = _parse_references(reader, "effects"), _parse_references(reader, "results")
    reader.take("}")
    names = tuple(titles.get(index, "") for index in parameters)
    return Graph(tuple(nodes), parameters, results, effects, (), names if any(names) else ())


def _parse_references(reader: _Reader, word: str) -> tuple[int, ...]:
    if not reader.accept(word):
        return ()
    found = [_parse_reference(reader)]
    while reader.accept(","):
        found.append(_parse_reference(reader))
    return tuple(found)


def _parse_reference(reader: _Reader) -> int:
    reader.take("%")
    return int(reader.take())


def _parse_node(reader: _Reader, index: int, titles: dict[int, str]) -> Node:
    if _parse_reference(reader) != index:
        raise GraphSyntaxError(f"node %{index} is out of order")
    reader.take("=")
    op = reader.take()
    inputs = tuple(_parse_list(reader, "(", ")", _parse_reference))
    if reader.kind == "string":
        titles[index] = json.loads(reader.take())
    attributes = tuple(_parse_list(reader, "{", "}", _parse_pair))
    reader.take(":")
    type = _parse_type(reader)
    return Node(op, inputs, attributes, type, reader.take() if reader.accept("@") else "")


def _parse_pair(reader: _Reader) -> tuple[str, Attribute]:
    name = reader.take()
    reader.take("=")
    return name, _parse_attribute(reader)


def _parse_list(reader: _Reader, first: str, last: str, parse: Callable[[_Reader], T]) -> list[T]:
    if not reader.accept(first):
        return []
    found: list[T] = []
    while not reader.accept(last):
        found.append(parse(reader))
        if reader.next != last:
            reader.take(",")
    return found


WORDS: dict[str, Attribute] = {"none": None, "true": True, "false": False}


def _parse_attribute(reader: _Reader) -> Attribute:
    token, kind = reader.next, reader.kind
    if kind == "string":
        return str(json.loads(reader.take()))
    if kind == "number":
        return _number(reader.take())
    if token == "(":
        return tuple(_parse_list(reader, "(", ")", _parse_attribute))
    if token == "[":
        return _parse_sizes(reader)[0]
    if token == "graph":
        return _parse_graph(reader)
    return WORDS[reader.take()] if token in WORDS else _parse_leaf(reader)


def _number(token: str) -> int | float:
    if token.endswith("nan"):
        return math.nan
    return float(token) if re.search(r"[.ein]", token) else int(token)


def _parse_type(reader: _Reader) -> NodeType:
    if reader.next == "(":
        return tuple(_parse_list(reader, "(", ")", _parse_leaf))
    return _parse_leaf(reader)


def _parse_leaf(reader: _Reader) -> LeafType:
    tensor = Tensor(reader.take(), tuple(_parse_sizes(reader)))
    return Sequence(tensor, _parse_sizes(reader)[0]) if reader.accept("*") else tensor


def _parse_sizes(reader: _Reader) -> Items[Size]:
    return _parse_list(reader, "[", "]", _parse_size)


def _parse_size(reader: _Reader) -> Size:
    total: Size = 0
    sign = -1 if reader.accept("-") else 1
    while True:
        total = add(total, multiply(sign, _parse_factor(reader)))
        if reader.next not in ("+", "-"):
            return total
        sign = 1 if reader.take() == "+" else -1


def _parse_factor(reader: _Reader) -> Size:
    token = reader.take()
    if token.lstrip("-").isdigit():
        return int(token)
    if token == "product":
        found: Size = 1
        for factor in _parse_list(reader, "(", ")", _parse_size):
            found = multiply(found, factor)
        return found
    if reader.accept("("):
        dividend = _parse_size(reader)
        reader.take("/")
        divisor = _parse_size(reader)
        reader.take(")")
        return divide(dividend, divisor, token)
    return of_atom(_parse_name(token))


def _parse_name(token: str) -> Atom:
    base, _, number = token.partition("'")
    id = int(number or 0)
    return Unknown(id) if base == "?" else Solvable(id) if base == "_" else Named(base, id)
