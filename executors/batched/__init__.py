"""The executor `batched`: a whole chunk of clients as one TensorFlow program."""

from .executor import BatchedExecutor

__all__ = ["BatchedExecutor"]
