"""Flower's simulation on Ray: its strategy FedAvg, clients in NumPy. `python flower_rounds.py WORKLOAD.npz`.

Only softmax regression, so that what is measured is Flower and not a library that computes the clients' work.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for Ray's workers
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import flwr
import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from serve import Answers, load, serve

PATH = str(Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else ""


def client_app(path: str) -> ClientApp:
    """One client: gradient descent on its batches."""
    app = ClientApp()

    @app.train()
    def train(message, context):
        import serve

        task = serve.load(path)
        x, y = task.clients[context.node_config["partition-id"]]
        w, b = (each.copy() for each in message.content["arrays"].to_numpy_ndarrays())
        for start in range(0, len(x), task.batch):
            xs, ys = x[start : start + task.batch], y[start : start + task.batch]
            logits = xs @ w + b
            slope = np.exp(logits - logits.max(1, keepdims=True))
            slope /= slope.sum(1, keepdims=True)
            slope[np.arange(len(ys)), ys] -= 1
            slope /= len(ys)
            w -= task.rate * (xs.T @ slope)
            b -= task.rate * slope.sum(0)
        answer = {"arrays": ArrayRecord([w, b]), "metrics": MetricRecord({"num-examples": len(x)})}
        return Message(RecordDict(answer), reply_to=message)

    return app


def main() -> None:
    """Serves rounds from inside the server's program."""
    answers = Answers()
    task = load(PATH)
    count = len(task.clients)
    server = ServerApp()

    @server.main()
    def main(grid, context):
        strategy = FedAvg(min_train_nodes=count, min_available_nodes=count, fraction_evaluate=0.0)
        first = ArrayRecord(task.weights)

        def run_round():
            replies = grid.send_and_receive(strategy.configure_train(1, first, ConfigRecord(), grid))
            arrays, _ = strategy.aggregate_train(1, replies)
            return arrays.to_numpy_ndarrays()

        serve(f"flwr {flwr.__version__}", run_round, answers)

    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server, client_app(PATH), count, backend_config=resources)


if __name__ == "__main__":
    main()
