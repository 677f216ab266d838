"""What `tff.framework` was for programs that come from TensorFlow Federated: which executor is in force.

fl.framework.set_default_executor(fl.framework.create_local_executor())
"""

from __future__ import annotations

from fedlang.run.registry import set_default_executor as set_named_executor

LOCAL = "threaded"
PLAIN = "reference"


def create_local_executor() -> str:
    """The name of the executor that runs clients on TensorFlow, several at a time. Any other name does as well."""
    return LOCAL


def set_default_executor(executor: str | None = None) -> None:
    """Puts an executor in force, by its name; without one, the one that every other is measured by.

    Raises `DiagnosticError` for a name that there is none of, or whose packages are missing.
    """
    set_named_executor(PLAIN if executor is None else executor)


__all__ = ["create_local_executor", "set_default_executor"]
