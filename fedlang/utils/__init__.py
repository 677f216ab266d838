"""What `tff.utils` was for programs that come from TensorFlow Federated: `fl.utils.IterativeProcess`."""

from __future__ import annotations

from fedlang.embed.iterative import IterativeProcess

__all__ = ["IterativeProcess"]
