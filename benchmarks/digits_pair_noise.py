"""Systematic confusion on digits: MislabelDetector against the mean training loss.

    python -m benchmarks.digits_pair_noise

30 % of the rows of every class carry the next class's label. Writes
``benchmarks/results/digits_pair_noise.json``.
"""

import json
import platform
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.datasets import pair_noise
from sam_attribution.problem import problem_from_estimator

RESULT = Path(__file__).parent / "results" / "digits_pair_noise.json"


def mean_trajectory_loss(fitted, X, y):
    """Mean of every row's loss over the recorded states."""
    problem = problem_from_estimator(fitted, X, y)
    outputs = [problem.logits(s.params, s.buffers, problem.X) for s in fitted.trajectory_.states]
    losses = [problem.row_loss.per_sample(output, problem.y) for output in outputs]
    return torch.stack(losses).mean(0).detach().numpy()


def one_seed(seed):
    """AUC of both on the wrong labels."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    noisy, wrong = pair_noise(y, 0.3, random_state=seed)
    classifier = SAMClassifier(
        module__n_hidden=64,
        lr=0.2,
        optimizer__momentum=0.9,
        batch_size=128,
        max_epochs=20,
        random_state=seed,
    )
    scores = MislabelDetector(classifier, random_state=seed).fit(X, noisy).scores_
    loss = mean_trajectory_loss(classifier.fit(X, noisy), X, noisy)
    return {
        "seed": seed,
        "auc_detector": roc_auc_score(wrong, -scores),
        "auc_mean_loss": roc_auc_score(wrong, loss),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = [one_seed(seed) for seed in range(3)]
    machine = {"python": platform.python_version(), "device": "cpu", "threads": 1}
    machine |= {m.__name__: m.__version__ for m in (np, sklearn, torch)}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"results": results, "machine": machine}, indent=1) + "\n")
    print(*results, sep="\n")
