"""TensorFlow Federated 0.87: `build_weighted_fed_avg` of a Keras model. `python tff_rounds.py WORKLOAD.npz`."""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from serve import Answers, load, serve

layers = tf.keras.layers


def network(model: str):
    """The model as Keras layers; those of the other programs, without dropout."""
    return tf.keras.Sequential(
        {
            "softmax": lambda: [layers.InputLayer((784,)), layers.Dense(10)],
            "cnn": lambda: [
                layers.InputLayer((32, 32, 3)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(10),
            ],
            "lstm": lambda: [
                layers.InputLayer((80,), dtype=tf.int32),
                layers.Embedding(86, 8),
                layers.LSTM(256, return_sequences=True),
                layers.Dense(86, use_bias=False),
            ],
        }[model]()
    )


def main() -> None:
    """Serves rounds."""
    answers = Answers()
    task = load(sys.argv[1])
    data = [tf.data.Dataset.from_tensor_slices((x, y)).batch(task.batch) for x, y in task.clients]

    def model():
        return tff.learning.models.from_keras_model(
            network(task.model),
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            input_spec=data[0].element_spec,
        )

    process = tff.learning.algorithms.build_weighted_fed_avg(
        model,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(task.rate),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
    )
    weights = tff.learning.models.ModelWeights(task.weights, [])
    state = process.set_model_weights(process.initialize(), weights)

    def run_round():
        found = process.get_model_weights(process.next(state, data).state)
        return [np.asarray(each) for each in found.trainable]

    serve(f"tensorflow-federated {tff.__version__} with tensorflow {tf.__version__}", run_round, answers)


if __name__ == "__main__":
    main()
