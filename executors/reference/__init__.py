"""The reference executor: NumPy, one client at a time, no TensorFlow. Obviously right before it is fast."""

from .plan import KERNELS, evaluate_graph, plan_of
from .plan import evaluate_graph as evaluate
from .work import ReferenceExecutor, read_client

__all__ = ["KERNELS", "ReferenceExecutor", "evaluate", "evaluate_graph", "plan_of", "read_client"]
