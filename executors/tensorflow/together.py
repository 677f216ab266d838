"""Functions from Python for all clients at once: TensorFlow's own vectorisation (`tf.vectorized_map`) of one call.

A function takes part where it says so: it has a form for padded arguments (`TensorFlowExtern.padded`). Whether
TensorFlow can vectorise it is tried when the program is compiled. TensorFlow runs what it cannot vectorise in a loop
over the clients inside the call, which takes longer than clients one by one: so such loops are looked for, and only
those that draw random numbers are let pass.

A derivative is vectorised together with the call it belongs to, a second time; TensorFlow merges what both compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from logging import CRITICAL
from typing import Any
from weakref import WeakKeyDictionary

from fedlang.ir.graph import Graph, Node
from fedlang.passes.batch import NotBatchable
from fedlang.run.externs import find_extern

from .attributes import flag, integer, integers
from .start import tf

LOOPS = ("While", "StatelessWhile")
DRAWS = frozenset(
    ["StatelessRandomUniformV2", "StatelessRandomNormalV2", "StatelessRandomGetKeyCounter", "StatelessRandomGetAlg"]
)
AROUND = frozenset(  # what a loop over clients has around the operation that it is for
    {
        *("Placeholder", "Const", "Identity", "NoOp", "AddV2", "Less", "Cast", "Shape", "StridedSlice", "ExpandDims"),
        *("GatherV2", "Pack", "Reshape", "Minimum", "Maximum", "LogicalAnd", "Range", "Fill"),
        *("TensorListReserve", "TensorListSetItem", "TensorListGetItem", "TensorListStack", "TensorListFromTensor"),
        *("PlaceholderWithDefault", "PreventGradient", "_Arg", "_Retval"),
    }
)

ROW = b"fedlang: a client's row"


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """A function of all clients' arguments, the axis of clients in front; or the reason why there is none."""

    function: Any
    reason: str = ""


_made: WeakKeyDictionary[Any, dict[Any, Together]] = WeakKeyDictionary()


def apart(handle: str) -> str:
    """Why a function is called for one client at a time; "" where it has a form for padded arguments."""
    function = find_extern(handle)
    if getattr(function, "padded", None) is not None:
        return ""
    said = getattr(function, "apart", "") or "it is called for one client at a time"
    return f"`{handle}` from Python: {said}"


def verify_together(graph: Graph) -> None:
    """Raises `NotBatchable` where TensorFlow cannot vectorise a function that a batched graph calls for all clients."""
    for index, node in enumerate(graph.nodes):
        for body in node.bodies:
            verify_together(body)
        if is_together(node):
            found = of_node(node)
            if reason := found.reason or _looping(found.function, used_results(graph, index)):
                raise NotBatchable(f"`{node.attribute('handle')}` from Python: {reason}", node)


def nodes_within(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph and of all graphs inside it."""
    for node in graph.nodes:
        yield node
        for body in node.bodies:
            yield from nodes_within(body)


def calls_together(graph: Graph) -> bool:
    """Whether a graph calls a function from Python for all clients."""
    return any(map(is_together, nodes_within(graph)))


def calls_tensorflow(graph: Graph) -> bool:
    """Whether a graph calls a function that is TensorFlow's."""
    return any(map(is_traced, nodes_within(graph)))


def is_traced(node: Node) -> bool:
    """Whether a node calls a function that is TensorFlow's, which becomes a part of the program."""
    named = node.op in ("extern", "extern_vjp")
    return named and getattr(find_extern(str(node.attribute("handle"))), "function", None) is not None


def used_results(graph: Graph, index: int) -> set[int]:
    """Which results of a node something reads."""
    gets = {k: node for k, node in enumerate(graph.nodes) if node.op == "get" and node.inputs == (index,)}
    read = {i for node in graph.nodes for i in node.inputs} | set(graph.results)
    return {integer(node, "index") for k, node in gets.items() if k in read}


def _looping(function: Any, used: set[int]) -> str:
    graph = function.get_concrete_function().graph
    bodies = {each.signature.name: each.node_def for each in graph.as_graph_def().library.function}
    made = [op.node_def for op in _behind(graph, used)]
    found = sorted(set(_looped(bodies, made, inside=False)) - AROUND - DRAWS)
    return f"TensorFlow has no vectorised {', '.join(f'`{kind}`' for kind in found[:3])}" if found else ""


def _looped(bodies: dict[str, Any], nodes: Iterable[Any], *, inside: bool) -> Iterator[str]:
    """The operations in loops, at every depth."""
    for node in nodes:
        if inside:
            yield node.op
        for attribute in node.attr.values():
            if attribute.func.name in bodies:
                yield from _looped(bodies, bodies[attribute.func.name], inside=inside or node.op in LOOPS)


def _behind(graph: Any, used: set[int] | None) -> set[Any]:
    """The operations that some of the results, or all, are made of."""
    found: set[Any] = set()
    rest = [each.op for k, each in enumerate(graph.outputs) if used is None or k in used]
    while rest:
        op = rest.pop()
        if op not in found:
            found.add(op)
            rest += [each.op for each in op.inputs]
    return found


def is_together(node: Node) -> bool:
    """Whether a node calls a function for all clients."""
    return "batched" in dict(node.attributes)


def of_node(node: Node) -> Together:
    """The function that a node calls for all clients, or why there is none."""
    batched = tuple(map(bool, integers(node, "batched")))
    return together(str(node.attribute("handle")), node.op == "extern_vjp", batched, padded=flag(node, "padded"))


def together(handle: str, derived: bool, batched: tuple[bool, ...], *, padded: bool) -> Together:
    """The function that a name stands for, or its derivative, for all clients. Made once."""
    function = find_extern(handle)
    known = _made.setdefault(function, {})
    key = derived, batched, padded
    if key not in known:
        one = function.padded if padded else function.function  # type: ignore[attr-defined]
        stacked = (*batched, True) if padded else batched
        if derived:
            call = together(handle, False, batched, padded=padded)
            known[key] = call if call.reason else _derived(one, stacked, len(batched), call.function)
        else:
            specs = [_stack(each) if flag else each for each, flag in zip(one.input_signature, stacked, strict=True)]
            known[key] = _tried(one.python_function, stacked, specs)
    return known[key]


def _derived(one: Any, stacked: tuple[bool, ...], arguments: int, call: Any) -> Together:
    """The derivative takes what the call takes, then cotangents of its results that are floats."""
    results = call.get_concrete_function().outputs
    cotangents = [tf.TensorSpec(each.shape, each.dtype) for each in results if each.dtype.is_floating]
    flags = (*stacked, *[True] * len(cotangents))
    return _tried(_derivative(one, len(stacked), arguments), flags, [*call.input_signature, *cotangents])


FREE = ("Const", "Placeholder", "Identity", "NoOp")
PRODUCTS = ("MatMul", "BatchMatMulV2", "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "Einsum")


def operations_in(node: Node, used: set[int]) -> tuple[int, int]:
    """How many operations a call takes for these of its results, and how many of them are products.

    A derivative of a single client's call is taken for as many operations as the call, and twice its products.
    """
    given = dict(node.attributes)
    handle, derived = str(given["handle"]), node.op == "extern_vjp"
    function = getattr(find_extern(handle), "function", None)
    if function is None:
        return 1, 0
    if not is_together(node):
        count, products = _count(function, None if derived else used)
        return count, products * (2 if derived else 1)
    count, products = _count(of_node(node).function, used)
    forward = _count(of_node(replace(node, op="extern")).function, {0}) if derived else (0, 0)
    return max(count - forward[0], 1), max(products - forward[1], 0)


def _count(function: Any, used: set[int] | None) -> tuple[int, int]:
    kinds = [op.type for op in _behind(function.get_concrete_function().graph, used) if op.type not in FREE]
    products = sum(kind in PRODUCTS for kind in kinds)
    return len(kinds) - products, products


def _tried(call: Callable[..., Any], flags: tuple[bool, ...], specs: list[Any]) -> Together:
    """The call vectorised, if TensorFlow can."""
    whole = tf.function(_vectorised(call, flags), input_signature=specs, autograph=False)
    with _quiet():
        try:
            whole.get_concrete_function()
        except Exception as error:
            said = str(error).strip().partition("\n")[0]
            return Together(None, f"TensorFlow does not vectorise it ({said[:120]})")
    return Together(whole)


def _vectorised(call: Callable[..., Any], flags: tuple[bool, ...]) -> Callable[..., list[Any]]:
    """The call for all clients. Their number is read from one input alone: what is computed only to be asked for its
    size, a key that the function does not use, is not computed at all."""

    def run(*inputs: Any) -> list[Any]:
        signed = [_signed(value) for value in inputs]

        def each(client: Any) -> list[Any]:
            given = [_row(value, client) if flag else value for value, flag in zip(signed, flags, strict=True)]
            return list(call(*(tf.cast(value, whole.dtype) for value, whole in zip(given, inputs, strict=True))))

        clients = tf.shape(signed[flags.index(True)])[0]
        return list(tf.vectorized_map(each, tf.range(clients), fallback_to_while_loop=True, warn=False))

    return run


def _row(value: Any, client: Any) -> Any:
    """A client's row, marked where a marked one's vectorised form is all rows as they are."""
    row = tf.gather(value, client)
    return tf.raw_ops.PreventGradient(input=row, message=ROW) if MARKS else row


def _signed(value: Any) -> Any:
    """Keys as signed numbers of the same bits: TensorFlow has no vectorised way to take unsigned rows apart."""
    return tf.bitcast(value, tf.int32) if value.dtype == tf.uint32 else value


def _derivative(one: Any, taken: int, arguments: int) -> Callable[..., list[Any]]:
    """The derivatives by the arguments that are floats; `taken` inputs are the function's own, then cotangents."""

    def derive(*inputs: Any) -> list[Any]:
        by = [each for each in inputs[:arguments] if each.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(by)
            results = [each for each in one.python_function(*inputs[:taken]) if each.dtype.is_floating]
        found = tape.gradient(results, by, list(inputs[taken:]), tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(each) for each in found]

    return derive


def _stack(spec: Any) -> Any:
    return tf.TensorSpec([None, *spec.shape], spec.dtype)


def _teach() -> bool:
    """Teaches TensorFlow to vectorise two operations, where its table of those is where it was, which is no part of its
    public face; and says whether it did.

    It has no vectorised `Bitcast`, which is in the accuracies of Keras. And where it takes a row for each client, it
    gathers all of them, in their order: a copy of the examples and the weights in each step. So rows are marked,
    by an operation that does nothing, and a marked row's vectorised form is what it was gathered from.
    """
    taught = set()
    with suppress(ImportError, AttributeError, TypeError):
        from tensorflow.python.ops.parallel_for import pfor

        forms = {
            "Bitcast": lambda given: tf.bitcast(given.stacked_input(0), given.get_attr("type")),
            "PreventGradient": lambda given: (
                given.op.inputs[0].op.inputs[0] if given.get_attr("message") == ROW else given.stacked_input(0)
            ),
        }
        for kind, form in forms.items():
            if kind not in pfor._pfor_converter_registry:
                pfor.RegisterPFor(kind)(lambda given, form=form: pfor.wrap(form(given), True))
                taught.add(kind)
    return "PreventGradient" in taught


MARKS = _teach()


@contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow logs a failed vectorisation in hundreds of lines."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel(CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
