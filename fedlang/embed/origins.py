"""Where a program comes from: the models of Python that it was made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedlang.run.externs import Lent


@dataclass(frozen=True, slots=True)
class Origin:
    """A model that became a part of a program, and how.

    A model that is called stays code that TensorFlow runs, and `reason` says why; any other is translated to the
    language's own operations. `functions` are those that are called, kept as long as programs made of the model.
    """

    model: str
    calls: bool
    reason: str = ""
    functions: tuple[Lent, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        if self.calls:
            return f"the model `{self.model}` is called: {self.reason}"
        return f"the model `{self.model}` is translated to the language's own operations"
