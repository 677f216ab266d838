"""What `tff.utils` was for programs that come from TensorFlow Federated, and what their loops of rounds print.

`fl.utils.IterativeProcess` pairs two computations; `fl.utils.RoundTable` shows rounds, on terminals and in notebooks.
"""

from __future__ import annotations

from fedlang.embed.iterative import IterativeProcess
from fedlang.embed.records import Record
from fedlang.embed.tables import RoundTable


def update_state(state: Record, **changes: object) -> Record:
    """The state with some fields changed. Raises `AttributeError` for a field that it has not."""
    return state.replace(**changes)


__all__ = ["IterativeProcess", "RoundTable", "update_state"]
