"""The executor `threaded`: a chunk of clients for each core, each chunk one TensorFlow program that runs its clients
in turn."""

from .executor import ThreadedExecutor

__all__ = ["ThreadedExecutor"]
