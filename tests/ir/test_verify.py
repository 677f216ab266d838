"""Every invariant, broken once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedlang.ir.graph import Attribute, Builder, Graph, Node, NodeType, Sequence, Tensor
from fedlang.ir.program import Aggregate, Phase, Program, Slot
from fedlang.ir.verify import InvariantError, verify_graph, verify_program

from .builders import ROW, SCALAR, doubling, folding, mean_of_clients

FLAG = Tensor("bool")
LOOP: dict[str, Any] = {"body": doubling(), "captured": 0, "carries": 1, "reverse": False}


def test_sound_graphs_pass() -> None:
    verify_graph(folding(), level="local")
    verify_graph(mean_of_clients(), level="federated")


def node(op: str, inputs: tuple[int, ...], type: NodeType, place: str = "", **attributes: Attribute) -> Node:
    """A node, attributes sorted."""
    return Node(op, inputs, tuple(sorted(attributes.items())), type, place)


X = node("parameter", (), ROW, index=0)
Y = node("parameter", (), Tensor("float64", (3,)), index=1)
BROKEN: list[tuple[str, Graph]] = [
    ("a row in ir/operations", Graph((node("fly", (), ROW),), (), (0,))),
    ("inputs are earlier", Graph((X, node("negate", (1,), ROW)), (0,), (1,))),
    ("as many inputs", Graph((X, node("add", (0,), ROW)), (0,), (1,))),
    ("attributes of its operation", Graph((X, node("negate", (0,), ROW, axis=1)), (0,), (1,))),
    ("attributes of its operation", Graph((X, node("reverse", (0,), ROW)), (0,), (1,))),
    ("are nodes of the graph", Graph((X,), (0,), (1,))),
    ("the parameters are the parameter nodes", Graph((X,), (), (0,))),
    ("index is its position", Graph((node("parameter", (), ROW, index=1),), (0,), (0,))),
    ("the effects are all", Graph((node("print", (), (), format=""),), (), ())),
    ("a result is one leaf", Graph((node("print", (), (), format=""),), (), (0,), (0,))),
    ("spans go with nodes", Graph((X,), (0,), (0,), (), (None, None))),
    ("a place is one of the four", Graph((replace(X, place="moon"),), (0,), (0,))),
    ("holds no movement", Graph((X, node("federated_sum", (0,), ROW)), (0,), (1,))),
    ("holds no placed node", Graph((X, node("negate", (0,), ROW, "server")), (0,), (1,))),
    ("only `get` reads", Graph((node("print", (), (), format=""), node("negate", (0,), ROW)), (), (1,), (0,))),
    ("reads a result that there is", Graph((X, node("get", (0,), ROW, index=0)), (0,), (1,))),
    ("inputs are of different types", Graph((X, Y, node("add", (0, 1), ROW)), (0, 1), (2,))),
    ("result has another dtype", Graph((X, node("negate", (0,), SCALAR)), (0,), (1,))),
    ("the inputs are float32", Graph((X, node("logical_not", (0,), ROW)), (0,), (1,))),
    ("a constant is minus zero", Graph((node("constant", (), SCALAR, value=-0.0),), (), (0,))),
    ("no int32 scalar", Graph((node("size", (), SCALAR, dimension=3),), (), (0,))),
    ("condition is no bool", Graph((X, node("select", (0, 0, 0), ROW)), (0,), (1,))),
    ("do not place", Graph((X, node("broadcast", (0,), ROW, axes=(1,))), (0,), (1,))),
    ("an axis does not fit", Graph((X, node("broadcast", (0,), Tensor("float32", (4,)), axes=(0,))), (0,), (1,))),
    ("not the input without", Graph((X, node("reduce_sum", (0,), ROW, axes=(0,))), (0,), (1,))),
    ("an axis is not one", Graph((X, node("reduce_sum", (0,), ROW, axes=(1,))), (0,), (1,))),
    ("no int32 without the axis", Graph((X, node("arg_max", (0,), SCALAR, axis=0)), (0,), (1,))),
    ("the permutation is none", Graph((X, node("transpose", (0,), ROW, permutation=(1,))), (0,), (1,))),
    ("more than the axis", Graph((X, node("pad", (0,), SCALAR, axis=0, before=1, after=1)), (0,), (1,))),
    ("the index is no int32", Graph((X, node("gather", (0, 0), ROW)), (0,), (1,))),
    (
        "no matrices",
        Graph((X, node("matmul", (0, 0), ROW, transpose_a=False, transpose_b=False)), (0,), (1,)),
    ),
    ("input is no key", Graph((X, node("random_normal", (0,), ROW)), (0,), (1,))),
    ("works on sequences", Graph((X, node("take", (0, 0), ROW)), (0,), (1,))),
    ("is no sequence", Graph((X, node("stack", (0,), ROW)), (0,), (1,))),
    ("not the input's rows", Graph((X, node("unstack", (0,), Sequence(ROW, 3))), (0,), (1,))),
    (
        "the body's parameters disagree",
        Graph(
            (X, node("fold", (0, 0), (ROW,), **LOOP)),
            (0,),
            (0,),
        ),
    ),
    ("nothing to loop over", Graph((X, node("fold", (0,), (ROW,), **LOOP)), (0,), (0,))),
    ("the predicate is no bool", Graph((X, node("cond", (0,), (), then=doubling(), otherwise=doubling())), (0,), (0,))),
    ("disagree with the arguments", Graph((X, node("call", (0,), (ROW,), body=doubling(), name="f")), (0,), (0,))),
    ("no float scalar", Graph((X, node("gradient", (0, 0), (ROW,), body=doubling(), count=1, value=0)), (0,), (0,))),
    ("the condition is no bool scalar", Graph((X, node("check", (0,), (), message="")), (0,), (0,), (1,))),
]  # fmt: skip


@pytest.mark.parametrize(("invariant", "graph"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_a_broken_local_graph_is_refused(invariant: str, graph: Graph) -> None:
    with pytest.raises(InvariantError, match=invariant):
        verify_graph(graph, level="local")


def placed(*nodes: Node) -> Graph:
    """A federated graph of two parameters, at the server and the clients, and more nodes."""
    first = (replace(X, place="server"), node("parameter", (), ROW, "clients", index=1))
    return Graph((*first, *nodes), (0, 1), (len(nodes) + 1,))


@pytest.mark.parametrize(
    ("invariant", "graph"),
    [
        ("only a movement joins", placed(node("add", (0, 1), ROW, "clients"))),
        ("only a movement joins", placed(node("negate", (0,), ROW))),
        ("only a movement joins", placed(node("negate", (1,), ROW, "shared"))),
        ("from and to its own", placed(node("federated_broadcast", (1,), ROW, "shared"))),
        ("from and to its own", placed(node("federated_broadcast", (0,), ROW, "clients"))),
        ("from and to its own", placed(node("federated_sum", (0,), ROW, "server"))),
        ("the weight is no scalar", placed(node("federated_mean", (1, 1), ROW, "server"))),
        ("no sequence of the values", placed(node("federated_collect", (1,), ROW, "server"))),
    ],
)
def test_a_broken_federated_graph_is_refused(invariant: str, graph: Graph) -> None:
    with pytest.raises(InvariantError, match=invariant):
        verify_graph(graph, level="federated")


def test_unplaced_values_are_at_every_place() -> None:
    one = node("constant", (), Tensor("float32", ()), value=1.0)
    wide = node("broadcast", (2,), ROW, axes=())
    verify_graph(placed(one, wide, node("add", (0, 3), ROW, "server")), level="federated")


def identity(*types: Tensor) -> Graph:
    """Parameters given back."""
    b = Builder()
    return b.finish(tuple(b.parameter(type) for type in types))


def program() -> Program:
    """One phase that sums the clients' rows."""
    phase = Phase(
        identity(SCALAR), (Slot("input", 1),), 1,
        identity(ROW, SCALAR), (Slot("input", 0), Slot("server", 0)),
        (Aggregate("sum", 0, ROW, values=(0,)),),
    )  # fmt: skip
    inputs = ((ROW, "clients"), (SCALAR, "server"))
    return Program(inputs, ("x", "y"), (phase,), identity(ROW), (Slot("aggregate", 0),), (Slot("finish", 0),))


def changed(**changes: object) -> Program:
    """The program with its phase changed."""
    whole = program()
    return replace(whole, phases=(replace(whole.phases[0], **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("invariant", "broken"),
    [
        ("every input has a name", replace(program(), input_names=())),
        ("what is broadcast is prepared", changed(broadcasts=2)),
        ("an aggregate's values are work's", changed(aggregates=(Aggregate("sum", 7, ROW),))),
        ("has the type of its values", changed(aggregates=(Aggregate("sum", 1, ROW),))),
        ("a weight is a result", changed(aggregates=(Aggregate("mean", 0, ROW, weight=9),))),
        ("`otherwise` is prepared", changed(aggregates=(Aggregate("min", 0, ROW, otherwise=9),))),
        ("captures is prepared", changed(aggregates=(Aggregate("sum", 0, ROW, captured=(9,)),))),
        ("every parameter of a piece", changed(work_slots=(Slot("input", 0),))),
        ("only what is at its place", changed(prepare_slots=(Slot("client", 0),))),
        ("only inputs that are at its place", changed(prepare_slots=(Slot("input", 0),))),
        ("points at a piece that has run", changed(prepare_slots=(Slot("aggregate", 0),))),
        ("a leaf that is there", changed(broadcasts=0)),
        ("a slot has its parameter's type", replace(program(), finish=identity(SCALAR))),
        ("a result is the finish's", replace(program(), results=(Slot("server", 0),))),
        ("points at a result", replace(program(), results=(Slot("finish", 3),))),
        ("points at an input", changed(prepare_slots=(Slot("input", 9),))),
    ],
)
def test_a_broken_program_is_refused(invariant: str, broken: Program) -> None:
    verify_program(program())
    with pytest.raises(InvariantError, match=invariant):
        verify_program(broken)
