"""pfl-research with PyTorch: its federated averaging on its simulated backend, in one process.

`python pfl_rounds.py WORKLOAD.npz`. Clients' data are tensors before the first round, as in pfl's own benchmarks.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from itertools import cycle

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.model.pytorch import PyTorchModel
from serve import Answers, load, serve
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    """What pfl asks of a model: a loss of a batch, and metrics."""

    def __init__(self) -> None:
        super().__init__()

    def loss(self, x, y, eval=False):
        """The mean cross entropy."""
        return functional.cross_entropy(self(x).flatten(0, -2), y.flatten())

    def metrics(self, x, y, eval=False):
        """None: nothing is evaluated."""
        return {}


class Softmax(Model):
    """Softmax regression."""

    def __init__(self, w) -> None:
        super().__init__()
        self.out = dense(w[0], w[1])

    def forward(self, x):
        """Scores."""
        return self.out(x)


class Convolutions(Model):
    """Two convolutions of 3 by 3, a pooling, two dense layers."""

    def __init__(self, w) -> None:
        super().__init__()
        self.first, self.second = conv(w[0], w[1]), conv(w[2], w[3])
        by_channel = w[4].reshape(14, 14, 64, 128).transpose(2, 0, 1, 3).reshape(12544, 128)
        self.hidden, self.out = dense(by_channel, w[5]), dense(w[6], w[7])

    def forward(self, x):
        """Scores."""
        x = functional.relu(self.second(functional.relu(self.first(x))))
        x = functional.max_pool2d(x, 2).flatten(1)
        return self.out(functional.relu(self.hidden(x)))


class Characters(Model):
    """An embedding, one LSTM, a dense layer without bias."""

    def __init__(self, w) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.tensor(w[0]), freeze=False)
        self.lstm = nn.LSTM(w[1].shape[0], w[2].shape[0], batch_first=True)
        self.lstm.bias_hh_l0.requires_grad_(False)
        given = {"weight_ih_l0": w[1].T, "weight_hh_l0": w[2].T, "bias_ih_l0": w[3], "bias_hh_l0": 0 * w[3]}
        for name, value in given.items():
            getattr(self.lstm, name).data.copy_(torch.tensor(value))
        self.out = dense(w[4], None)

    def forward(self, x):
        """Scores at each place."""
        return self.out(self.lstm(self.embedding(x))[0])


def dense(kernel, bias):
    """A dense layer from a kernel [in, out]."""
    layer = nn.Linear(*kernel.shape, bias=bias is not None)
    layer.weight.data = torch.tensor(np.ascontiguousarray(kernel.T))
    if bias is not None:
        layer.bias.data = torch.tensor(bias)
    return layer


def conv(kernel, bias):
    """A convolution from a kernel [height, width, in, out]."""
    layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2])
    layer.weight.data = torch.tensor(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    layer.bias.data = torch.tensor(bias)
    return layer


MODELS = {"softmax": Softmax, "cnn": Convolutions, "lstm": Characters}


def examples(task):
    """Each client's tensors; pictures by channel, as PyTorch takes them."""
    for x, y in task.clients:
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if task.model == "cnn" else x
        yield torch.tensor(x), torch.tensor(y.astype(np.int64))


def main() -> None:
    """Serves rounds."""
    answers = Answers()
    task = load(sys.argv[1])
    torch.set_num_threads(1)  # as one client at a time is best served; more wait for each other
    network = MODELS[task.model](task.weights)
    start = {name: value.detach().clone() for name, value in network.state_dict().items()}
    datasets = [Dataset([x, y], user_id=str(k)) for k, (x, y) in enumerate(examples(task))]

    turn = cycle(range(len(datasets)))
    backend = SimulatedBackend(FederatedDataset(datasets.__getitem__, lambda: next(turn)), None, [WeightByDatapoints()])
    model = PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0))
    algorithm = FederatedAveraging()
    # The second of two rounds: pfl evaluates in the first one, whatever the frequency.
    rounds = NNAlgorithmParams(
        central_num_iterations=2, evaluation_frequency=2, train_cohort_size=len(datasets), val_cohort_size=0
    )
    local = NNTrainHyperParams(local_num_epochs=1, local_learning_rate=task.rate, local_batch_size=task.batch)

    def run_round():
        network.load_state_dict(start)
        algorithm._current_central_iteration = 1
        algorithm.run(rounds, backend, model, local)
        return [each.detach().numpy() for each in network.parameters() if each.requires_grad]

    serve(f"pfl {version('pfl')} with torch {torch.__version__}", run_round, answers)


if __name__ == "__main__":
    main()
