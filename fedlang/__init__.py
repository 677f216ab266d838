"""fedlang, a typed language for federated computation.

    import fedlang as fl
    program = fl.load("mnist.fed")
    state = program.mnist.initialize(0)

Names are loaded when they are first used, so `import fedlang` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# In a bare checkout `executors`, `stdlib` and `grammar` lie beside the package; installed, they lie inside it.
_beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isdir(os.path.join(_beside, "grammar")):
    __path__.append(_beside)

# With it, TensorFlow gives each session threads of its own: the executors' have one for an operation, however many a
# user's Keras models have, and clients' bits do not depend on who used TensorFlow first. It is read only once, before
# TensorFlow's first operation, which is why it stands here.
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")

# With it, TensorFlow multiplies small matrices by oneDNN on any x86 processor, as it does by itself on newer ones of
# Intel's only: a batched product of small matrices takes a third of the time. It, too, is read once.
if getattr(os, "uname", None) and os.uname().machine == "x86_64":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if TYPE_CHECKING:
    from fedlang import framework as framework
    from fedlang import learning as learning
    from fedlang import simulation as simulation
    from fedlang import utils as utils
    from fedlang.diagnostics import DiagnosticError
    from fedlang.embed.computations import Computation, Process
    from fedlang.embed.constructors import (
        FederatedType,
        FunctionType,
        NamedTupleType,
        SequenceType,
        StructType,
        TensorType,
        to_type,
    )
    from fedlang.embed.decorators import federated_computation, language, local_computation, tf_computation
    from fedlang.embed.intrinsics import (
        federated_apply,
        federated_collect,
        federated_eval,
        federated_map,
        federated_mean,
        federated_reduce,
        federated_secure_sum,
        federated_secure_sum_bitwidth,
        federated_value,
        federated_zip,
        sequence_map,
        sequence_reduce,
        sequence_sum,
        to_value,
    )
    from fedlang.embed.loading import Package, load, loads
    from fedlang.embed.records import Record
    from fedlang.run.registry import executor, executor_names, set_default_executor
    from fedlang.run.rounds import Policy
    from fedlang.types.types import CLIENTS, SERVER

_HOMES = {
    "DiagnosticError": "fedlang.diagnostics",
    "Computation": "fedlang.embed.computations",
    "Process": "fedlang.embed.computations",
    "federated_computation": "fedlang.embed.decorators",
    "language": "fedlang.embed.decorators",
    "local_computation": "fedlang.embed.decorators",
    "tf_computation": "fedlang.embed.decorators",
    "Package": "fedlang.embed.loading",
    "load": "fedlang.embed.loading",
    "loads": "fedlang.embed.loading",
    "Record": "fedlang.embed.records",
    "executor": "fedlang.run.registry",
    "executor_names": "fedlang.run.registry",
    "set_default_executor": "fedlang.run.registry",
    "Policy": "fedlang.run.rounds",
    "CLIENTS": "fedlang.types.types",
    "SERVER": "fedlang.types.types",
    **dict.fromkeys(
        ("FederatedType", "FunctionType", "NamedTupleType", "SequenceType", "StructType", "TensorType", "to_type"),
        "fedlang.embed.constructors",
    ),
    **dict.fromkeys(
        (
            "federated_apply", "federated_collect", "federated_eval", "federated_map", "federated_mean",
            "federated_reduce", "federated_secure_sum", "federated_secure_sum_bitwidth", "federated_value",
            "federated_zip",
            "sequence_map", "sequence_reduce", "sequence_sum", "to_value",
        ),
        "fedlang.embed.intrinsics",
    ),
}  # fmt: skip

_MODULES = ("framework", "learning", "simulation", "utils")

__all__ = [
    "CLIENTS",
    "SERVER",
    "Computation",
    "DiagnosticError",
    "FederatedType",
    "FunctionType",
    "NamedTupleType",
    "Package",
    "Policy",
    "Process",
    "Record",
    "SequenceType",
    "StructType",
    "TensorType",
    "executor",
    "executor_names",
    "federated_apply",
    "federated_collect",
    "federated_computation",
    "federated_eval",
    "federated_map",
    "federated_mean",
    "federated_reduce",
    "federated_secure_sum",
    "federated_secure_sum_bitwidth",
    "federated_value",
    "federated_zip",
    "language",
    "load",
    "loads",
    "local_computation",
    "sequence_map",
    "sequence_reduce",
    "sequence_sum",
    "set_default_executor",
    "tf_computation",
    "to_type",
    "to_value",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"fedlang.{name}")
    if name.startswith("federated_"):
        return import_module("fedlang.embed.decorators").operation(name)
    raise import_module("fedlang.embed.former").missing(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
