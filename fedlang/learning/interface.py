"""Models as classes of variables: the interface of TensorFlow Federated's 2019 tutorials.

A class with `tf.Variable`s and methods of TensorFlow operations. Its variables become records: each call of a method
gets variables of its own, set from what the program carries, so that clients never share any and the class runs on
every executor. The way that we recommend is shorter: pure functions in a `.fed` file, or a Keras model.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class BatchOutput(NamedTuple):
    """What `forward_pass` gives: the mean loss of the batch, predictions, and how many examples it has.

    Without `num_examples` it is the first size of the predictions.
    """

    loss: Any
    predictions: Any
    num_examples: Any = None


class Model(abc.ABC):
    """A model for evaluation and federated SGD."""

    @property
    @abc.abstractmethod
    def trainable_variables(self) -> Sequence[Any]:
        """The `tf.Variable`s that training changes. The server has them, clients get copies."""

    @property
    @abc.abstractmethod
    def non_trainable_variables(self) -> Sequence[Any]:
        """Variables that clients get from the server and do not train."""

    @property
    @abc.abstractmethod
    def local_variables(self) -> Sequence[Any]:
        """Variables that begin anew at each client in each round: sums for metrics, for one."""

    @property
    @abc.abstractmethod
    def input_spec(self) -> Any:
        """A batch: a mapping or tuple of `tf.TensorSpec`s, the size of the batch `None`."""

    @abc.abstractmethod
    def forward_pass(self, batch: Any, training: bool = True) -> BatchOutput:
        """The loss and predictions of a batch; it may change local variables."""

    @abc.abstractmethod
    def report_local_outputs(self) -> Mapping[str, Any]:
        """What a client reports at the end, from the local variables: numbers or tensors by name."""

    @property
    @abc.abstractmethod
    def federated_output_computation(self) -> Any:
        """A `@fl.federated_computation` of all clients' reports to metrics at the server."""


class TrainableModel(Model):
    """A model that trains itself, as federated averaging needs."""

    @abc.abstractmethod
    def train_on_batch(self, batch: Any) -> BatchOutput:
        """One local step: changes the trainable variables."""
