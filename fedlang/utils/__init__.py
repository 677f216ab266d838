"""What `tff.utils` was for programs that come from TensorFlow Federated, and what their loops of rounds print.

`fl.utils.IterativeProcess` pairs two computations; `fl.utils.RoundTable` shows rounds, on terminals and in notebooks.
"""

from __future__ import annotations

from fedlang.embed.iterative import IterativeProcess
from fedlang.embed.tables import RoundTable

__all__ = ["IterativeProcess", "RoundTable"]
