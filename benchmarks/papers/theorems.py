"""arXiv:2507.04059, theorems 4.3, 4.5 and 4.6 beside exact leave-one-out on convex problems.

    python -m benchmarks.papers.theorems

Softmax regressions on random rows, trained with SAM, all rows in each batch: for 5 steps, which is
what theorem 4.6 asks for (weights that hardly move), and for 300 steps, near the fixed point that
theorems 4.3 and 4.5 ask for. Every row is left out in turn and the training repeated with it at
weight 0. Truth and score are the rise of the loss of 100 fresh rows; Pearson correlation and slope
(truth regressed on the score), over 20 problems. Errors of the steps of theorems 4.3 and 4.5 at
exact fixed points: ``benchmarks.convex_leave_one_out``. Writes
``benchmarks/results/papers_theorems.json``.
"""

import argparse
import warnings

import numpy as np
import torch
from scipy.stats import linregress
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks.papers.setting.cases import run_missing
from benchmarks.papers.setting.sizes import SMALL
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.comparison import leave_one_out
from sam_attribution.methods import GIF, HIF, Unrolled

N_PROBLEMS, N_ROWS, N_FEATURES, N_CLASSES = 20, 200, 2, 3
STEPS = (5, 300)
METHODS = {
    "HIF, exact": HIF(damping=0),
    "theorem 4.3": HIF("fast", damping=0),
    "theorem 4.5": HIF("paper", damping=0),
    "theorem 4.6, every step": GIF(n_checkpoints=None),
    "theorem 4.6, 10 checkpoints": GIF(n_checkpoints=10),
    "unrolled": Unrolled(check=None),
}


def problems(n_steps):
    """Agreement of each method with leave-one-out, problem by problem."""
    found = {name: {"pearson": [], "slope": []} for name in METHODS}
    for seed in range(N_PROBLEMS):
        for name, fit in one_problem(n_steps, seed).items():
            found[name]["pearson"].append(float(fit.rvalue))
            found[name]["slope"].append(float(fit.slope))
    return {"methods": found}


def one_problem(n_steps, seed):
    """Truth regressed on the scores of each method."""
    rng = np.random.default_rng(seed)
    X, y = make_classification(
        2 * N_ROWS, N_FEATURES, n_informative=N_FEATURES, n_redundant=0, n_classes=N_CLASSES,
        n_clusters_per_class=1, flip_y=0.1, random_state=seed,
    )  # fmt: skip
    X = X.astype(np.float32)
    rho, decay = rng.uniform(0.05, 0.2), rng.uniform(0.02, 0.1)
    torch.manual_seed(seed)
    net = SAMClassifier(
        nn.Linear(N_FEATURES, N_CLASSES), rho=rho, lr=0.3, optimizer__weight_decay=decay,
        batch_size=-1, max_epochs=n_steps, trajectory="all", random_state=seed,
    ).fit(X[:N_ROWS], y[:N_ROWS])  # fmt: skip
    rows = X[:N_ROWS], y[:N_ROWS]
    known = {"validation": ValidationData(X[N_ROWS:], y[N_ROWS:]), "random_state": seed}
    net = FrozenEstimator(net)
    truth = leave_one_out(net, *rows, **known).scores
    return {
        name: linregress(SAMInfluence(net, method=method, **known).fit(*rows).scores_, truth)
        for name, method in METHODS.items()
    }


def main():
    """Measure the lengths of training that the JSON lacks."""
    argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0]).parse_args()
    warnings.simplefilter("ignore")
    run_missing("papers_theorems", SMALL, [(n_steps,) for n_steps in STEPS], problems)


if __name__ == "__main__":
    main()
