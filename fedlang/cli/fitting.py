"""Client data as a program takes it: the fields it names, in the shapes it names, in batches or one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedlang.cli import errors
from fedlang.data.characters import TEXT_FIELD, character_sequences
from fedlang.data.clients import ClientData, ClientSequences
from fedlang.data.trees import Examples
from fedlang.run.sequences import Array
from fedlang.types.types import PlacedType, RecordType, SequenceType, TensorType, Type, print_type

TENSOR_FIELD = "x"
"""The field of the examples that a program over plain tensors takes."""


@dataclass(frozen=True)
class Fitting:
    """How data of a name goes into a parameter `<element*>@CLIENTS`."""

    name: str
    element: Type

    @property
    def batched(self) -> bool:
        """Whether an element is a batch: its first axis may have any length."""
        return any(leaf.shape and not isinstance(leaf.shape[0], int) for leaf in self._leaves().values())

    def _leaves(self) -> dict[str, TensorType]:
        fields = dict(self.element.fields) if isinstance(self.element, RecordType) else {TENSOR_FIELD: self.element}
        return {name: kind for name, kind in fields.items() if isinstance(kind, TensorType)}

    def fit(self, data: ClientData) -> ClientData:
        """The data with the program's fields. `DiagnosticError` FED0906 where it does not have them."""
        data = self._as_characters(data)
        self._convert(data.examples(data.client_ids[0]))
        return data.map(self._convert)

    def _as_characters(self, data: ClientData) -> ClientData:
        """Texts as sequences of characters, as long as the program's `tokens`, where it has such a field."""
        kind, first = self._leaves().get("tokens"), data.examples(data.client_ids[0])
        length = kind.shape[-1] if kind is not None and kind.shape else None
        if not isinstance(length, int) or not isinstance(first, Mapping) or TEXT_FIELD not in first:
            return data
        return character_sequences(data, length)

    def sequences(self, data: ClientData, batch: int, epochs: int, shuffle_seed: int | None) -> ClientSequences:
        """What the clients hold: batches, or examples one by one where the program takes those."""
        if self.batched:
            return data.batches(batch, epochs, shuffle_seed)
        return ClientSequences(data.client_ids, data.sequence)

    def _convert(self, examples: Examples) -> Examples:
        found = examples if isinstance(examples, Mapping) else {TENSOR_FIELD: examples}
        leaves = self._leaves()
        missing = [name for name in leaves if name not in found]
        if missing:
            raise self._misfit(f"its examples have {', '.join(found)}, but no {', '.join(missing)}")
        fields: dict[str, Examples] = {name: self._shaped(name, found[name], kind) for name, kind in leaves.items()}
        return fields if isinstance(self.element, RecordType) else fields[TENSOR_FIELD]

    def _shaped(self, name: str, array: Examples, kind: TensorType) -> Array:
        """One field in its shape: an image of 28 x 28 may be 784 numbers, or have an axis for its one colour."""
        if isinstance(array, (Mapping, tuple)):
            raise self._misfit(f"its field {name} is no tensor")
        wanted = [size for size in (kind.shape[1:] if self.batched else kind.shape) if isinstance(size, int)]
        length = 1
        for size in wanted:
            length *= size
        if length * len(array) != array.size:
            raise self._misfit(f"its field {name} has the shape {list(array.shape[1:])}")
        return array.reshape(len(array), *wanted)

    def _misfit(self, reason: str) -> Exception:
        return errors.data_does_not_fit(self.name, print_type(SequenceType(self.element)), reason)


def fitting_of(name: str, type: Type) -> Fitting | None:
    """How data goes into a parameter of this type; None for one that takes no sequence at the clients."""
    match type:
        case PlacedType("CLIENTS", True, SequenceType(element)):
            return Fitting(name, element)
        case _:
            return None
