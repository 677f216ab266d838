"""Work compiled to run one by one in the graph, for a chunk at a time: what `threaded` is made of and `batched` falls
back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from fedlang.ir.graph import Graph
from fedlang.run.executor import Chunk, Stacked
from fedlang.run.sequences import LeafValue

from .layout import Layout, layout_of
from .sequential import Program, compile_sequential
from .store import Store
from .work import Finished, Readable, as_sequences, finish, nothing, split_outputs


@dataclass(frozen=True, slots=True, eq=False)
class SequentialWork:
    """A work graph as a program for chunks, with the stores that its clients' data are kept in."""

    program: Program
    stores: list[Store]
    lock: Lock
    lanes: int = 1

    @property
    def layout(self) -> Layout:
        """How values are handed over."""
        return self.program.layout

    def pack(self, read: Readable) -> list[Any]:
        """The clients' tensors. Data are copied here, so only one thread at a time may do it."""
        with self.lock:
            for store in self.stores:
                store.make_room(read)
            return self.layout.pack(self.stores, read.values)

    def run(self, shared: Sequence[Any], packed: Sequence[Any], read: Readable, *, spread: bool = False) -> Chunk:
        """A packed chunk's results. May be called from several threads at once; `spread` as `Traced` takes it."""
        program = self.program
        if not read.tasks:
            return nothing(read, len(program.results))
        outputs = program.function(*shared, *packed, spread=spread)
        return finish(read, self._finished(outputs), program.sites, program.notes)

    def _finished(self, outputs: Sequence[NDArray[Any]]) -> Finished:
        program = self.program
        types = [*program.results, *(type for note in program.notes for type in note.types)]
        values = split_outputs(outputs[:-1], types)
        results, shown = values[: len(program.results)], values[len(program.results) :]
        notes: list[tuple[Stacked, ...]] = []
        for note in program.notes:
            notes.append(tuple(shown[: len(note.types)]))
            del shown[: len(note.types)]
        return Finished(as_sequences(results, program.sequences), tuple(notes), outputs[-1])

    def pack_shared(self, shared: Sequence[LeafValue]) -> list[Any]:
        """The shared values' feeds."""
        return self.layout.pack_shared(shared)


def sequential_work(graph: Graph, varies: tuple[bool, ...], *, label: str = "work") -> SequentialWork:
    """The work made ready. `Unsupported` where TensorFlow cannot run it."""
    layout = layout_of(graph, varies)
    return SequentialWork(compile_sequential(layout, label=label), layout.stores(), Lock())
