"""A digit classifier as a Keras model, trained over 64 clients:

fed train examples/keras_mnist.py --data mnist --rounds 30 -v
"""

import fedlang as fl  # before Keras: it sets TensorFlow up to be fast

# isort: split
import keras

keras.utils.set_random_seed(1)
network = keras.Sequential(
    [
        keras.layers.Input((784,)),
        keras.layers.Dense(32, activation="relu", name="hidden"),
        keras.layers.Dense(10, activation="softmax", name="scores"),
    ],
    name="digits",
)
model = fl.learning.from_keras_model(network, loss="sparse_categorical_crossentropy")
process = fl.learning.build_federated_averaging(model, client_rate=0.1)
evaluation = fl.learning.build_federated_evaluation(model)
