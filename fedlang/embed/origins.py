"""Where a program comes from: the models of Python that it was made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """A model that became a part of a program, and how.

    A model that is called stays code that TensorFlow runs, and `reason` says why; any other is translated to the
    language's own operations.
    """

    model: str
    calls: bool
    reason: str = ""

    def __str__(self) -> str:
        if self.calls:
            return f"the model `{self.model}` is called: {self.reason}"
        return f"the model `{self.model}` is translated to the language's own operations"
