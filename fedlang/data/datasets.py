"""Client data as TensorFlow datasets, under the names that users of TensorFlow Federated know.

TensorFlow is imported when a dataset is first asked for. Whatever depends on a `seed` is the same for the same seed
everywhere; without one it differs from call to call.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from fedlang.data.convert import is_dataset
from fedlang.data.errors import missing_library, no_clients, wrong_count
from fedlang.data.readers import Clients
from fedlang.data.trees import Tree
from fedlang.run.random import key_of_seed, random_permutation

T = TypeVar("T")
C = TypeVar("C", bound="DatasetClients[Any]")


@dataclass(frozen=True)
class DatasetClients(Clients[T]):
    """Clients of each of which a `tf.data.Dataset` can be had."""

    @abstractmethod
    def create_tf_dataset_for_client(self, client_id: str) -> Any:
        """The client's elements as a `tf.data.Dataset`. `DiagnosticError` FED0618 for an id that is not there."""

    @property
    def element_type_structure(self) -> Any:
        """`tf.TensorSpec`s in the structure of an element, from the first client. FED0711 if there are no clients."""
        if not self.client_ids:
            raise no_clients("take an element from")
        return self.create_tf_dataset_for_client(self.client_ids[0]).element_spec

    def datasets(self, limit_count: int | None = None, seed: int | None = None) -> Iterator[Any]:
        """The datasets of the clients in random order, at most `limit_count` of them."""
        for client in _shuffled(self.client_ids, seed)[:limit_count]:
            yield self.create_tf_dataset_for_client(client)

    def create_tf_dataset_from_all_clients(self, seed: int | None = None) -> Any:
        """One dataset of the elements of all clients, client after client in random order, read as it is iterated.

        The elements of a client follow each other: shuffle before training on them.
        """
        order = _shuffled(self.client_ids, seed)

        def elements() -> Iterator[Any]:
            for client in order:
                yield from self.create_tf_dataset_for_client(client).as_numpy_iterator()

        return tensorflow().data.Dataset.from_generator(elements, output_signature=self.element_type_structure)

    def preprocess(self, preprocess_fn: Callable[[Any], Any]) -> ClientDatasets:
        """The data with a function from dataset to dataset applied to each client's when it is read.

        client_data.preprocess(lambda dataset: dataset.shuffle(500, seed=1).batch(20))
        """
        return ClientDatasets(self.client_ids, lambda client: preprocess_fn(self.create_tf_dataset_for_client(client)))

    @classmethod
    def from_clients_and_fn(
        cls, client_ids: Iterable[str], create_tf_dataset_for_client_fn: Callable[[str], Any]
    ) -> ClientDatasets:
        """Client data whose datasets a function makes from ids, at each use. It is plain Python, and is not traced."""
        return ClientDatasets(tuple(client_ids), create_tf_dataset_for_client_fn)

    @staticmethod
    def train_test_client_split(client_data: C, num_test_clients: int, seed: int | None = None) -> tuple[C, C]:
        """Whole clients held out: all but `num_test_clients` to train with, and those. Ids keep their order.

        `DiagnosticError` FED0709 unless at least one client is left for each part.
        """
        if not 0 < num_test_clients < len(client_data):
            raise wrong_count("the number of test clients", num_test_clients, f"from 1 to {len(client_data) - 1}")
        held_out = frozenset(_shuffled(client_data.client_ids, seed)[:num_test_clients])
        train = [client for client in client_data if client not in held_out]
        return client_data.subset(train), client_data.subset(client for client in client_data if client in held_out)


@dataclass(frozen=True)
class ClientDatasets(DatasetClients[Any]):
    """For each client a `tf.data.Dataset`, or elements or arrays that one is made of, made at each use.

    A program takes it for `<T*>@CLIENTS`. Where elements are examples, `ClientData.from_function(data.client_ids,
    data.client)` has them stacked.
    """

    def client(self, client_id: str) -> Any:
        """What the client holds: what a run asks for."""
        return self._read(client_id)

    def create_tf_dataset_for_client(self, client_id: str) -> Any:
        """The client's dataset."""
        value = self._read(client_id)
        return value if is_dataset(value) else dataset_of(value)


def dataset_of(examples: Tree[Any]) -> Any:
    """Stacked examples as a dataset; the records among its elements are `OrderedDict`s."""
    return tensorflow().data.Dataset.from_tensor_slices(_ordered(examples))


def _ordered(tree: Tree[Any]) -> Any:
    if isinstance(tree, dict):
        return OrderedDict((name, _ordered(part)) for name, part in tree.items())
    if isinstance(tree, tuple):
        return tuple(_ordered(part) for part in tree)
    return tree


def _shuffled(client_ids: tuple[str, ...], seed: int | None) -> list[str]:
    key = key_of_seed(secrets.randbits(32) if seed is None else seed)
    return [client_ids[place] for place in random_permutation(key, len(client_ids))]


def tensorflow() -> Any:
    """The module. `DiagnosticError` FED0721 where it is not installed."""
    try:
        import tensorflow as module
    except ImportError:
        raise missing_library("TensorFlow", "tf-cpu") from None
    return module
