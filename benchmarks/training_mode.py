"""GIF of networks with dropout or batch norm, in training and in evaluation mode.

    pip install -e ".[benchmarks]"
    python -m benchmarks.training_mode

Pearson correlation with leave-one-out retraining of the same run, every row left out in turn, for
the sum over every step and over the recorded states: with gradients in training mode and the
recorded masks, as GIF takes them, and with all of them in evaluation mode. Beside it the mean
cosine of the two modes' eps. Digits, 150 rows, one label in ten wrong. Writes
``benchmarks/results/training_mode.json``. One thread.
"""

from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.report import machine, write
from sam_attribution import SAMClassifier
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import GIF
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries, problem_from_estimator
from sam_attribution.retraining import LeaveOneOut

SEEDS, N_ROWS, N_QUERIES = (0, 1, 2), 150, 400
NETWORKS = {
    "dropout .5": lambda: (nn.Linear(64, 32), nn.GELU(), nn.Dropout(0.5), nn.Linear(32, 10)),
    "dropout .2": lambda: (nn.Linear(64, 32), nn.GELU(), nn.Dropout(0.2), nn.Linear(32, 10)),
    "batch norm": lambda: (nn.Linear(64, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Linear(32, 10)),
}


def trained(build, seed):
    """A problem whose every state was recorded, and the mean loss on other rows as query."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    rows, others = order[:N_ROWS], order[N_ROWS : N_ROWS + N_QUERIES]
    labels, _ = symmetric_noise(y[rows], 0.1, random_state=seed)
    torch.manual_seed(seed)
    net = SAMClassifier(
        nn.Sequential(*build()), trajectory=10, random_state=seed, batch_size=30, max_epochs=10,
        lr=0.1, rho=0.1, dtype="float64",
    ).fit(X[rows] / 16, labels)  # fmt: skip
    problem = problem_from_estimator(net, X[rows] / 16, labels)
    asked = net.to_tensors(X[others] / 16, y[others])
    everyone = (torch.arange(N_QUERIES),)
    return problem, Queries(problem, *asked, problem.row_loss.evaluated, everyone)


def in_evaluation(problem):
    """The same problem, as if training mode and evaluation mode were one."""
    other = replace(problem)
    vars(other)["training_differs"] = False
    return other


def gif_scores(problem, queries, n_checkpoints):
    probes = GIF(n_checkpoints=n_checkpoints).prepare(problem).probes(queries)
    return training_scores(problem, probes, given_only=True)[:, 0]


def cosine_of_eps(problem):
    """Mean over the recorded states of the cosine between the two modes' eps."""
    points = list(problem.path.checkpoints("recorded", _NoRates))
    pairs = [[p.row_params(each, "w+eps") - p.params for each in (problem, in_evaluation(problem))]
             for p in points]  # fmt: skip
    return float(np.mean([torch.cosine_similarity(a, b, dim=0) for a, b in pairs]))


class _NoRates:
    @staticmethod
    def over(stretches):
        return [1.0] * len(stretches)


def agreement(build, seed):
    """Correlations with leave-one-out, by variant."""
    problem, queries = trained(build, seed)
    truth = LeaveOneOut().prepare(problem).scores(queries)[:, 0].numpy()
    modes = {"training": problem, "evaluation": in_evaluation(problem)}
    visits = {"every step": None, "recorded states": "recorded"}
    found = {
        f"{visit}, {mode} mode": float(
            np.corrcoef(gif_scores(each, queries, n_checkpoints).numpy(), truth)[0, 1]
        )
        for visit, n_checkpoints in visits.items()
        for mode, each in modes.items()
    }
    return {"pearson": found, "cosine_of_eps": cosine_of_eps(problem)}


def main():
    """Measure every network over the seeds, and print the means."""
    torch.set_num_threads(1)
    found = {name: {} for name in NETWORKS}
    for name, build in NETWORKS.items():
        for seed in SEEDS:
            found[name][seed] = agreement(build, seed)
            print(name, seed, found[name][seed], flush=True)
    write("training_mode", {"about": machine(0) | {"seeds": SEEDS}, "networks": found})


if __name__ == "__main__":
    main()
