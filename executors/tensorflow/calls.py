"""A TensorFlow function of one signature, called without the search among traces that `tf.function` does at each call.

That search looks at the type of every argument again, in Python; where the signature was fixed from the start there
is one trace, and nothing to look for. It took about as long as a small round's arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from .start import tf


class Traced:
    """A Python function over tensors as one TensorFlow program; traced when it is first called."""

    def __init__(self, function: Callable[..., Any], signature: Sequence[Any]) -> None:
        self._function = tf.function(function, input_signature=list(signature), autograph=False)
        self._lock = Lock()
        self._program: Any = None

    def traces(self) -> int:
        """How often it was traced."""
        return int(self._function.experimental_get_tracing_count())

    def __call__(self, *feeds: Any) -> list[Any]:
        """The outputs, one tensor each. Feeds are tensors or arrays of the signature's dtypes; any thread may call."""
        program = self._program or self._trace()
        found: list[Any] = program(*(tf.convert_to_tensor(feed) for feed in feeds))
        return found

    def _trace(self) -> Any:
        with self._lock:
            if self._program is None:
                self._program = self._function.get_concrete_function()
        return self._program
