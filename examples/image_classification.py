# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Federated learning for image classification
#
# Ten people have written digits; none of them gives their pictures away. A model is trained on all of them: each trains a
# copy at home, and only the changes of its weights are averaged.
#
# The first part is the tutorial of TensorFlow Federated (2019), call by call, with fedlang's names. The second part is the
# same as a program in the language itself, of 34 lines. The cells of the first part keep the code of that tutorial
# (Apache License 2.0, copyright The TensorFlow Authors), so that those who know it find their way.

# %%
import collections
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import fedlang as fl  # before TensorFlow: it sets it up to be fast

# isort: split
import tensorflow as tf

fl.federated_computation(lambda: "Hello, World!")()

# %% [markdown]
# ## The data
#
# A data set of people: `client_ids` are the writers, and each has a `tf.data.Dataset`. This one comes with the package: digits
# of MNIST, with the tutorial's counts. `fl.simulation.datasets.emnist.load_data()` downloads the original, with 3,383 writers.

# %%
emnist_train, emnist_test = fl.simulation.datasets.mnist.load_data()
len(emnist_train.client_ids)

# %%
emnist_train.element_type_structure

# %%
example_dataset = emnist_train.create_tf_dataset_for_client(emnist_train.client_ids[0])
example_element = next(iter(example_dataset))
example_element["label"].numpy()

# %%
from matplotlib import pyplot as plt

plt.figure(figsize=(3, 3))
plt.imshow(example_element["pixels"].numpy(), cmap="gray", aspect="equal")
plt.grid(False)
_ = plt.show()

# %% [markdown]
# Every client goes through its pictures ten times, in batches of twenty.

# %%
NUM_CLIENTS = 10
NUM_EPOCHS = 10
BATCH_SIZE = 20
SHUFFLE_BUFFER = 500


def preprocess(dataset):
    def element_fn(element):
        return collections.OrderedDict(
            [("x", tf.reshape(element["pixels"], [-1])), ("y", tf.reshape(element["label"], [1]))]
        )

    return dataset.repeat(NUM_EPOCHS).map(element_fn).shuffle(SHUFFLE_BUFFER, seed=0).batch(BATCH_SIZE)


# %%
preprocessed_example_dataset = preprocess(example_dataset)
sample_batch = tf.nest.map_structure(lambda x: x.numpy(), next(iter(preprocessed_example_dataset)))
sample_batch


# %%
def make_federated_data(client_data, client_ids):
    return [preprocess(client_data.create_tf_dataset_for_client(x)) for x in client_ids]


sample_clients = emnist_train.client_ids[0:NUM_CLIENTS]
federated_train_data = make_federated_data(emnist_train, sample_clients)
len(federated_train_data), federated_train_data[0].element_spec

# %% [markdown]
# ## A Keras model
#
# `compile` says what a client does: its loss, its optimizer, what is measured. fedlang knows the layers of this model, so it
# becomes a program of the language, which every executor runs; other models are called.


# %%
def create_compiled_keras_model():
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


def model_fn():
    keras_model = create_compiled_keras_model()
    return fl.learning.from_compiled_keras_model(keras_model, sample_batch)


# %%
iterative_process = fl.learning.build_federated_averaging_process(model_fn)
str(iterative_process.initialize.type_signature)

# %% [markdown]
# Types print in the language's notation, and in that of TensorFlow Federated where you want to compare.

# %%
iterative_process.initialize.type_signature.to_tff()

# %% [markdown]
# A round takes a state and the clients' data, and gives the next state and metrics. What is measured is the model as it was
# before each step, so the numbers are one step behind.

# %%
state = iterative_process.initialize()

# %%
state, metrics = iterative_process.next(state, federated_train_data)
print(f"round  1, metrics={metrics}")

# %%
for round_num in range(2, 11):
    state, metrics = iterative_process.next(state, federated_train_data)
    print(f"round {round_num:2d}, metrics={metrics}")

# %% [markdown]
# ## A model of your own
#
# A class with variables: those that are trained, and sums for what is measured. Each client gets variables of its own, so the
# class runs on every executor as it stands.

# %%
MnistVariables = collections.namedtuple("MnistVariables", "weights bias num_examples loss_sum accuracy_sum")


def create_mnist_variables():
    return MnistVariables(
        weights=tf.Variable(lambda: tf.zeros(dtype=tf.float32, shape=(784, 10)), name="weights", trainable=True),
        bias=tf.Variable(lambda: tf.zeros(dtype=tf.float32, shape=(10)), name="bias", trainable=True),
        num_examples=tf.Variable(0.0, name="num_examples", trainable=False),
        loss_sum=tf.Variable(0.0, name="loss_sum", trainable=False),
        accuracy_sum=tf.Variable(0.0, name="accuracy_sum", trainable=False),
    )


def mnist_forward_pass(variables, batch):
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


def get_local_mnist_metrics(variables):
    return collections.OrderedDict(
        [
            ("num_examples", variables.num_examples),
            ("loss", variables.loss_sum / variables.num_examples),
            ("accuracy", variables.accuracy_sum / variables.num_examples),
        ]
    )


# %% [markdown]
# How the clients' numbers are put together is a federated computation.


# %%
@fl.federated_computation
def aggregate_mnist_metrics_across_clients(metrics):
    return {
        "num_examples": fl.federated_sum(metrics.num_examples),
        "loss": fl.federated_mean(metrics.loss, metrics.num_examples),
        "accuracy": fl.federated_mean(metrics.accuracy, metrics.num_examples),
    }


# %%
class MnistModel(fl.learning.Model):
    def __init__(self):
        self._variables = create_mnist_variables()

    @property
    def trainable_variables(self):
        return [self._variables.weights, self._variables.bias]

    @property
    def non_trainable_variables(self):
        return []

    @property
    def local_variables(self):
        return [self._variables.num_examples, self._variables.loss_sum, self._variables.accuracy_sum]

    @property
    def input_spec(self):
        return collections.OrderedDict(
            [("x", tf.TensorSpec([None, 784], tf.float32)), ("y", tf.TensorSpec([None, 1], tf.int32))]
        )

    @tf.function
    def forward_pass(self, batch, training=True):
        del training
        loss, predictions = mnist_forward_pass(self._variables, batch)
        num_examples = tf.shape(batch["x"])[0]
        return fl.learning.BatchOutput(loss=loss, predictions=predictions, num_examples=num_examples)

    @tf.function
    def report_local_outputs(self):
        return get_local_mnist_metrics(self._variables)

    @property
    def federated_output_computation(self):
        return aggregate_mnist_metrics_across_clients


# %% [markdown]
# That is enough to evaluate. To train at the clients, the model says how it makes a step.


# %%
class MnistTrainableModel(MnistModel, fl.learning.TrainableModel):
    @tf.function
    def train_on_batch(self, batch):
        with tf.GradientTape() as tape:
            output = self.forward_pass(batch)
        grads = tape.gradient(output.loss, self.trainable_variables)
        optimizer = tf.keras.optimizers.SGD(0.02)
        optimizer.apply_gradients(zip(tf.nest.flatten(grads), tf.nest.flatten(self.trainable_variables)))
        return output


# %%
iterative_process = fl.learning.build_federated_averaging_process(MnistTrainableModel)
state = iterative_process.initialize()

# %%
state, metrics = iterative_process.next(state, federated_train_data)
print(f"round  1, metrics={metrics}")

# %%
for round_num in range(2, 11):
    state, metrics = iterative_process.next(state, federated_train_data)
    print(f"round {round_num:2d}, metrics={metrics}")

# %% [markdown]
# ## Evaluation

# %%
evaluation = fl.learning.build_federated_evaluation(MnistModel)
str(evaluation.type_signature)

# %%
evaluation.type_signature.to_tff()

# %%
train_metrics = evaluation(state.model, federated_train_data)
str(train_metrics)

# %%
federated_test_data = make_federated_data(emnist_test, sample_clients)
len(federated_test_data), federated_test_data[0].element_spec

# %%
test_metrics = evaluation(state.model, federated_test_data)
str(test_metrics)

# %% [markdown]
# ## The same in the language
#
# A model is two functions; averaging is an import. `fed check` finds mistakes before anything runs, the place of every value is
# in its type, and no TensorFlow is needed to read or run it.

# %%
from pathlib import Path

folder = Path("examples") if Path("examples").is_dir() else Path()
print((folder / "image_classification.fed").read_text())

# %%
program = fl.load(folder / "image_classification.fed")
print(program.training.next.type_signature)

# %%
state = program.training.initialize()
losses = []
for round_num in range(1, 11):
    found = program.training.next(state, federated_train_data)
    state = found.state
    losses.append(float(found.metrics.loss))
    print(f"round {round_num:2d}, metrics={found.metrics}")

# %%
program.evaluation(state.weights, federated_test_data)

# %% [markdown]
# The executor is a choice that changes no result beyond rounding.

# %%
for name in ("reference", "threaded", "batched"):
    with fl.executor(name):
        print(name, program.evaluation(state.weights, federated_test_data))

# %%
plt.figure(figsize=(5, 3))
plt.plot(range(1, 11), losses, marker="o")
plt.xlabel("round")
plt.ylabel("loss")
_ = plt.show()
