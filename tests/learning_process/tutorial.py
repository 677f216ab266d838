"""The models of the image classification tutorial, with only the imports changed, and data of its kind."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import tensorflow as tf

import fedlang as fl


def dataset(examples: int, seed: int, batch: int = 20, epochs: int = 1) -> Any:
    """One client's data: digits whose label can be learnt."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, (examples, 1)).astype(np.int32)
    x = rng.uniform(0.0, 0.5, (examples, 784)).astype(np.float32)
    x[np.arange(examples), y[:, 0] * 70] = 1.0
    rows = collections.OrderedDict([("x", x), ("y", y)])
    return tf.data.Dataset.from_tensor_slices(rows).repeat(epochs).batch(batch)


def broken() -> Any:
    """A client whose update is not finite."""
    rows = collections.OrderedDict([("x", np.full((3, 784), np.nan, np.float32)), ("y", np.zeros((3, 1), np.int32))])
    return tf.data.Dataset.from_tensor_slices(rows).batch(20)


sample_batch = tf.nest.map_structure(lambda x: x.numpy(), next(iter(dataset(20, 0))))


def create_compiled_keras_model() -> Any:
    model = tf.keras.models.Sequential(
        [
            tf.keras.Input((784,)),
            tf.keras.layers.Dense(10, activation=tf.nn.softmax, kernel_initializer="zeros", name="dense"),
        ]
    )
    model.compile(
        loss=tf.keras.losses.SparseCategoricalCrossentropy(),
        optimizer=tf.keras.optimizers.SGD(learning_rate=0.02),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
    )
    return model


def model_fn() -> Any:
    return fl.learning.from_compiled_keras_model(create_compiled_keras_model(), sample_batch)


MnistVariables = collections.namedtuple("MnistVariables", "weights bias num_examples loss_sum accuracy_sum")


def create_mnist_variables() -> Any:
    return MnistVariables(
        weights=tf.Variable(lambda: tf.zeros(dtype=tf.float32, shape=(784, 10)), name="weights", trainable=True),
        bias=tf.Variable(lambda: tf.zeros(dtype=tf.float32, shape=(10)), name="bias", trainable=True),
        num_examples=tf.Variable(0.0, name="num_examples", trainable=False),
        loss_sum=tf.Variable(0.0, name="loss_sum", trainable=False),
        accuracy_sum=tf.Variable(0.0, name="accuracy_sum", trainable=False),
    )


def mnist_forward_pass(variables: Any, batch: Any) -> Any:
    y = tf.nn.softmax(tf.matmul(batch["x"], variables.weights) + variables.bias)
    predictions = tf.cast(tf.argmax(y, 1), tf.int32)
    flat_labels = tf.reshape(batch["y"], [-1])
    loss = -tf.reduce_mean(tf.reduce_sum(tf.one_hot(flat_labels, 10) * tf.math.log(y), axis=[1]))
    accuracy = tf.reduce_mean(tf.cast(tf.equal(predictions, flat_labels), tf.float32))
    num_examples = tf.cast(tf.size(batch["y"]), tf.float32)
    variables.num_examples.assign_add(num_examples)
    variables.loss_sum.assign_add(loss * num_examples)
    variables.accuracy_sum.assign_add(accuracy * num_examples)
    return loss, predictions


def get_local_mnist_metrics(variables: Any) -> Any:
    return collections.OrderedDict(
        [
            ("num_examples", variables.num_examples),
            ("loss", variables.loss_sum / variables.num_examples),
            ("accuracy", variables.accuracy_sum / variables.num_examples),
        ]
    )


@fl.federated_computation
def aggregate_mnist_metrics_across_clients(metrics: Any) -> Any:
    return {
        "num_examples": fl.federated_sum(metrics.num_examples),
        "loss": fl.federated_mean(metrics.loss, metrics.num_examples),
        "accuracy": fl.federated_mean(metrics.accuracy, metrics.num_examples),
    }


class MnistModel(fl.learning.Model):
    def __init__(self) -> None:
        self._variables = create_mnist_variables()

    @property
    def trainable_variables(self) -> Any:
        return [self._variables.weights, self._variables.bias]

    @property
    def non_trainable_variables(self) -> Any:
        return []

    @property
    def local_variables(self) -> Any:
        return [self._variables.num_examples, self._variables.loss_sum, self._variables.accuracy_sum]

    @property
    def input_spec(self) -> Any:
        return collections.OrderedDict(
            [("x", tf.TensorSpec([None, 784], tf.float32)), ("y", tf.TensorSpec([None, 1], tf.int32))]
        )

    @tf.function
    def forward_pass(self, batch: Any, training: bool = True) -> Any:
        del training
        loss, predictions = mnist_forward_pass(self._variables, batch)
        num_examples = tf.shape(batch["x"])[0]
        return fl.learning.BatchOutput(loss=loss, predictions=predictions, num_examples=num_examples)

    @tf.function
    def report_local_outputs(self) -> Any:
        return get_local_mnist_metrics(self._variables)

    @property
    def federated_output_computation(self) -> Any:
        return aggregate_mnist_metrics_across_clients


class MnistTrainableModel(MnistModel, fl.learning.TrainableModel):
    @tf.function
    def train_on_batch(self, batch: Any) -> Any:
        with tf.GradientTape() as tape:
            output = self.forward_pass(batch)
        grads = tape.gradient(output.loss, self.trainable_variables)
        optimizer = tf.keras.optimizers.SGD(0.02)
        optimizer.apply_gradients(zip(tf.nest.flatten(grads), tf.nest.flatten(self.trainable_variables), strict=True))
        return output
