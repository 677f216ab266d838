"""Names of TensorFlow Federated that are other things here: what is said to those who ask for them."""

from __future__ import annotations

PAGE = "docs/from_tff.md"
FORMER = {
    "StructWithPythonType": "`fl.StructType`; records come back as `fl.Record`",
    "Value": "what a traced function is given",
    "aggregators": "the processes of `stdlib/aggregators` and `stdlib/privacy`",
    "analytics": "not here",
    "backends": "`fl.set_default_executor(name)`",
    "jax_computation": "not here: `fl.local_computation` runs on every executor",
    "program": "`fed train`",
    "structure": "`fl.Record`",
    "templates": "`fl.utils`",
}


def missing(name: str) -> AttributeError:
    """The error for a name that `fedlang` does not have."""
    there = f"; of TensorFlow Federated, it is {FORMER[name]} ({PAGE})" if name in FORMER else ""
    return AttributeError(f"module `fedlang` has no attribute `{name}`{there}")
