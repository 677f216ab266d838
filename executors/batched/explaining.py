"""What ran, how, why, and what its operations took: estimates beside measurements.

Estimates are of the last run's own chunks, by the figures that the choice was made by. Measurements are
TensorFlow's profile of whatever ran while it was watched; they are longer than in runs that nobody watches.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass

from fedlang.ir.graph import Graph, Node
from fedlang.passes.batch import Batched
from fedlang.run.executor import Chunk, ClientTask
from fedlang.run.explanation import Explanation, OperationCost, WorkExplanation
from fedlang.run.externs import Called
from fedlang.run.sequences import LeafValue

from ..tensorflow.convolution import of_each_client
from ..tensorflow.profile import AROUND, Profile, profiled
from ..tensorflow.start import tf
from ..tensorflow.together import is_together, is_traced, nodes_within
from .costs import CONVOLUTIONS, batched_cost, cost_of
from .figures import FIXED, Figures
from .running import BatchedWork, ReferenceWork
from .strategy import Strategy
from .tally import Tally


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Made:
    """A work made ready: its graph as it came, as it is run by each client, and as it is run by all; how it runs.

    `called` are the functions from Python that it was compiled with.
    """

    graph: Graph
    own: Graph
    called: Called
    batched: Batched | None
    strategy: Strategy
    work: BatchedWork | ReferenceWork
    label: str

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """The work's chunks."""
        return self.work.run(shared, clients)


@contextmanager
def watched(
    name: str, watching: list[list[Made]], works: Callable[[], tuple[Made, ...]], *, measured: bool
) -> Iterator[Callable[[], Explanation]]:
    """Measures what runs inside; the function explains it afterwards. What is made ready meanwhile is put into a list
    of `watching`, and so kept until then."""
    profile = Profile()
    for made in works():
        made.work.tallies.clear()
    kept: list[Made] = []
    ran: list[Made] = []

    def explain() -> Explanation:
        used = next((m.strategy.estimate.figures for m in ran if m.strategy.estimate is not None), FIXED)
        devices = tuple(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())
        explanations = tuple(explained(made, used, profile) for made in ran)
        return Explanation(name, devices, asdict(used), explanations, profile.rest)

    watching.append(kept)
    try:
        with profiled() if measured else nullcontext(profile) as profile:
            yield explain
    finally:
        ran += [made for made in works() if made.work.tallies]
        watching[:] = [each for each in watching if each is not kept]


def explained(made: Made, figures: Figures, profile: Profile) -> WorkExplanation:
    """One work."""
    strategy = made.strategy
    guess = strategy.estimate
    strategies = {} if guess is None else {"sequential": guess.sequential, "blocks": guess.blocks}
    (tally,) = made.work.tallies
    return WorkExplanation(
        strategy.name,
        strategy.reason,
        strategies,
        tuple(tally.chunks),
        tally.share,
        sum(tally.times),
        tuple(_operations(made, tally, figures, profile)),
        tuple(notes_of(made)),
    )


def _operations(made: Made, tally: Tally, figures: Figures, profile: Profile) -> Iterator[OperationCost]:
    """The costly ones first."""
    guessed = _estimated(made, tally, figures)
    found = {(op, device): spent for (label, op, device), spent in profile.spent.items() if label == made.label}
    rows = [
        OperationCost(op, device, spent.calls, guessed.pop(op, None), spent.seconds)
        for (op, device), spent in found.items()
    ]
    rows += [OperationCost(op, "", 0, seconds, None) for op, seconds in guessed.items()]
    yield from sorted(rows, key=lambda row: -max(row.measured or 0.0, row.estimated or 0.0))


def _estimated(made: Made, tally: Tally, figures: Figures) -> dict[str, float]:
    """Seconds by operation of the last run."""
    found: dict[str, float] = {}
    for block, steps in tally.steps.items():
        times = tally.counts[block]
        cost = cost_of(made.own) if made.batched is None or block == 1 else batched_cost(made.batched, block)
        for op, seconds in cost.by_operation(figures, steps, times).items():
            found[op] = found.get(op, 0.0) + seconds
        found[AROUND] = found.get(AROUND, 0.0) + figures.step * steps
    return found


def notes_of(made: Made) -> Iterator[str]:
    """Which parts of a work run client by client, on the reference, or outside TensorFlow."""
    if made.strategy.name == "reference":
        yield f"client by client on the reference, in NumPy: {made.strategy.reason}"
    elif made.batched is None:
        yield f"client by client: {made.strategy.reason}"
    if made.batched is not None and made.strategy.name != "sequential":
        for op in sorted({node.op for node in _own_kernels(made.batched)}):
            yield f"`{op}` client by client inside each chunk: every client has a kernel of its own"
    graph = made.graph if made.batched is None or made.strategy.name == "sequential" else made.batched.graph
    yield from dict.fromkeys(note for node in nodes_within(graph) if (note := _outside(node)))


def _outside(node: Node) -> str:
    if node.op in ("print", "probe"):
        return f"`{node.op}` is shown after each chunk, in the order of the clients"
    if node.op not in ("extern", "extern_vjp"):
        return ""
    handle = str(node.attribute("handle"))
    if is_together(node):
        return f"`{handle}` from Python is vectorised: one call for all clients of a block"
    return f"`{handle}` from Python is {'traced into the program' if is_traced(node) else 'called outside TensorFlow'}"


def _own_kernels(batched: Batched) -> Iterator[Node]:
    """Convolutions in a loop over the clients, which are no products for all of them."""
    for node in nodes_within(batched.graph):
        if node.op == "fold" and dict(node.attributes)["carries"] == 0 and of_each_client(node) is None:
            (body,) = node.bodies
            yield from (each for each in body.nodes if each.op in CONVOLUTIONS)
