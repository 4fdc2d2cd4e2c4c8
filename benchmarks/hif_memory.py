"""Memory that HIF takes on a model of a million parameters with 5000 rows.

    python -m benchmarks.hif_memory     (3 to 12 minutes)

Peak of the process beyond what it was after training and a cheap method (Grad-Dot), which loads
whatever is loaded. Writes ``benchmarks/results/hif_memory.json``. One thread.
"""

import resource
import time
import warnings

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks.report import machine, write
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import HIF

SEED = 0


def peak():
    """Most memory that the process ever held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="the SAM Jacobian has eigenvalues near 0")
    X = np.random.default_rng(SEED).normal(size=(5000, 784)).astype(np.float32)
    y = X[:, :10].argmax(1)
    torch.manual_seed(SEED)
    layers = (nn.Linear(784, 1000), nn.GELU(), nn.Linear(1000, 200), nn.GELU(), nn.Linear(200, 10))
    classifier = SAMClassifier(
        nn.Sequential(*layers), max_epochs=1, batch_size=128, lr=0.05, trajectory=1,
        random_state=SEED,
    ).fit(X, y)  # fmt: skip
    validation = ValidationData(0.9 * X[:200], y[:200])

    def fit(method):
        frozen = FrozenEstimator(classifier)
        return SAMInfluence(frozen, method=method, validation=validation).fit(X, y)

    fit("grad-dot")
    before, start = peak(), time.perf_counter()
    residual = fit(HIF()).diagnostics_["residual"].iloc[0]
    content = {
        "machine": machine(SEED),
        "n_params": sum(p.numel() for p in classifier.module_.parameters()),
        "mib_before": before,
        "mib_more": peak() - before,
        "seconds": time.perf_counter() - start,
        "residual": float(residual),
    }
    print(content)
    write("hif_memory", content)


if __name__ == "__main__":
    main()
