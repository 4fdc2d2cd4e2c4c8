"""What ``unrolled`` predicts for another label of a row, beside training again with it.

    python -m benchmarks.relabelling

100 pairs of a row and another label, at random, of 300 digits with one label in ten wrong; an MLP
64-32-10 with GELU, after 5 epochs and after 15, when it has learned some of the wrong labels. The
prediction is the score of the row with its label minus that with the other one. Writes
``benchmarks/results/relabelling.json``; a minute and a half, one thread.
"""

import warnings

import numpy as np
import torch
from scipy.stats import linregress
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks.report import machine, write
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import Unrolled

SEED, N_ROWS, N_PAIRS, EPOCHS = 0, 300, 100, (5, 15)


def agreement(n_epochs):
    """Effects of other labels regressed on the predictions, and the share of right signs."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(y))
    X, y = (X[order] / 16).astype(np.float32), y[order]
    labels, _ = symmetric_noise(y[:N_ROWS], 0.1, random_state=SEED)
    torch.manual_seed(SEED)
    net = SAMClassifier(
        nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10)), rho=0.05, lr=0.1,
        optimizer__momentum=0.9, batch_size=32, max_epochs=n_epochs, random_state=SEED,
    ).fit(X[:N_ROWS], labels)  # fmt: skip
    influence = SAMInfluence(
        FrozenEstimator(net), method=Unrolled(check=None),
        validation=ValidationData(X[N_ROWS:1300], y[N_ROWS:1300]), random_state=SEED,
    ).fit(X[:N_ROWS], labels)  # fmt: skip
    rows = rng.choice(N_ROWS, N_PAIRS, replace=False)
    others = (labels[rows] + rng.integers(1, 10, N_PAIRS)) % 10
    scores = influence.transform_train_
    predicted = scores[rows, labels[rows]] - scores[rows, others]
    effects = np.array([effect(influence, *pair) for pair in zip(rows, others, strict=True)])
    fit = linregress(predicted, effects)
    return {
        "accuracy_train": float(net.score(X[:N_ROWS], labels)),
        "slope": float(fit.slope),
        "pearson": float(fit.rvalue),
        "right_signs": float((np.sign(predicted) == np.sign(effects)).mean()),
    }


def effect(influence, row, label):
    """Rise of the validation loss after training again with another label of a row."""
    edit = influence.relabel([row], [label], how="retrain").edit_
    return edit["validation_loss_after"] - edit["validation_loss"]


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cases = {f"{n_epochs} epochs": agreement(n_epochs) for n_epochs in EPOCHS}
    write("relabelling", {"machine": machine(SEED), "cases": cases})
    print(cases)


if __name__ == "__main__":
    main()
