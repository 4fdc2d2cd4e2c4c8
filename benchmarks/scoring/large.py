"""Memory of one whole run: fit a SAMInfluence on 50,000 rows and a million parameters.

    python -m benchmarks.scoring.large

Prints JSON. Run in a process of its own, because a high-water mark never falls.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import GIF

N_ROWS, N_FEATURES, N_CLASSES, N_VALID = 50_000, 784, 10, 1000
SEED = 0


class MLP(nn.Module):
    """784-1024-200-10: 1,010,850 parameters."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(N_FEATURES, 1024),
            nn.ReLU(),
            nn.Linear(1024, 200),
            nn.ReLU(),
            nn.Linear(200, 10),
        )

    def forward(self, X):
        """Logits."""
        return self.layers(X)


def main():
    """Fit and score; memory before and at the peak."""
    torch.set_num_threads(1)
    X, y = _rows(N_ROWS, SEED)
    validation = ValidationData(*_rows(N_VALID, SEED + 1))
    _load_lazily(X[:200], y[:200])
    before = memory_mib("VmRSS")
    classifier = SAMClassifier(
        MLP, max_epochs=3, batch_size=1024, lr=0.1, trajectory=5, random_state=SEED
    )
    start = time.perf_counter()
    influence = SAMInfluence(classifier, method=GIF(n_checkpoints=5), validation=validation).fit(
        X, y
    )
    n_params = sum(p.numel() for p in MLP().parameters())
    content = {
        "n_rows": N_ROWS,
        "n_parameters": n_params,
        "seconds": time.perf_counter() - start,
        "before_mib": before,
        "peak_mib": memory_mib("VmHWM"),
        "data_mib": X.nbytes / 2**20,
        "model_mib": 4 * n_params / 2**20,
        "states": len(influence.estimator_.trajectory_.states),
        "all_finite": bool(np.isfinite(influence.scores_).all()),
    }
    content["extra_mib"] = content["peak_mib"] - before - content["model_mib"]
    json.dump(content, sys.stdout, indent=1)


def memory_mib(field):
    """A figure of ``/proc/self/status``.

    Not ``ru_maxrss``, which on Linux counts the parent's memory from before ``exec``.
    """
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 2**10


def _rows(n, seed):
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((n, N_FEATURES), dtype=np.float32)
    y = generator.integers(N_CLASSES, size=n)
    X[np.arange(n), y] += 3
    return X, y


def _load_lazily(X, y):
    """Import and initialise what the first fit of a process does, on a few rows."""
    small = SAMClassifier(max_epochs=1, trajectory=1, random_state=SEED)
    SAMInfluence(small, method="tracin", random_state=SEED).fit(X, y)


if __name__ == "__main__":
    main()
