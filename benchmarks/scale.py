"""Seconds and peak memory of training, detection and scores, from a thousand rows to a million.

    python -m benchmarks.scale             # half an hour, one thread
    python -m benchmarks.scale 10000       # up to 10,000 rows: two minutes

20 features, 3 classes, one label in ten wrong, 3 epochs of batches of 256 rows, 1000 rows to
validate on. Each cell is a process of its own, ended after 300 s of the work that is measured:
it then says ``more_than``. ``fit`` and ``detector`` include the training; the methods score a
network that is trained already. ``mib`` is the peak above the process that holds libraries, rows
and, for methods, the trained network; a small run before it loads what is loaded late.
``mib_process`` is that of the whole process, ``power`` the exponent with which seconds grow between
two sizes. Writes ``benchmarks/results/scale.json``.
"""

import json
import math
import signal
import subprocess
import sys
import time
from itertools import pairwise, product

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks.hif_memory import peak
from benchmarks.report import machine, write
from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.fitting._measure import Measure

SEED, N_FEATURES, N_CLASSES, N_VALID, LIMIT_SECONDS = 0, 20, 3, 1000, 300
SIZES = (1000, 10_000, 100_000, 1_000_000)
NETWORKS = {"linear": lambda: nn.Linear(N_FEATURES, N_CLASSES), "mlp": lambda: None}
METHODS = ("gif", "ekfac", "hif-fast")
WORK = ("fit", "detector", *METHODS)


def rows(n):
    """Rows of three classes that a linear map tells apart, one label in ten drawn at random."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((n, N_FEATURES), dtype=np.float32)
    y = (X @ rng.standard_normal((N_FEATURES, N_CLASSES), dtype=np.float32)).argmax(1)
    return X, np.where(rng.random(n) < 0.1, rng.integers(N_CLASSES, size=n), y)


def cell(work, network, n):
    """Seconds and memory of one piece of work in this process."""
    torch.set_num_threads(1)
    prepared(work, network, *rows(300))()  # loads what the first call of anything loads
    X, y = rows(n)
    run = prepared(work, network, X, y)
    measure = Measure("cpu")
    signal.alarm(LIMIT_SECONDS)
    fitted = run()
    signal.alarm(0)
    found = {"seconds": measure.lap(), "mib": measure.peak_memory_mib(), "mib_process": peak()}
    return found | told_by(fitted)


def prepared(work, network, X, y):
    """The work as a function, with everything done that is not measured."""
    torch.manual_seed(SEED)
    classifier = SAMClassifier(
        NETWORKS[network](), max_epochs=3, batch_size=256, lr=0.05, optimizer__momentum=0.9,
        random_state=SEED,
    )  # fmt: skip
    if work == "fit":
        return lambda: classifier.fit(X, y)
    if work == "detector":
        return lambda: MislabelDetector(classifier, random_state=SEED).fit(X, y)
    asked = rows(N_VALID + 1)
    validation = ValidationData(*(part[:N_VALID] for part in asked))
    frozen = FrozenEstimator(classifier.fit(X, y))
    return lambda: SAMInfluence(frozen, method=work, validation=validation).fit(X, y)


def told_by(fitted):
    """The share of the time that is not training, where the estimator tells it."""
    diagnostics = getattr(fitted, "diagnostics_", {})
    return {
        name: float(diagnostics[name].iloc[0])
        for name in ("seconds_scoring", "damping", "residual")
        if name in diagnostics
    }


def in_its_own_process(work, network, n):
    """A cell, or why there are no figures."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale", work, network, str(n)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode == -signal.SIGALRM:
        return {"more_than": LIMIT_SECONDS}
    if run.returncode:
        lines = run.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"ended by signal {-run.returncode}"}
    return json.loads(run.stdout.splitlines()[-1])


def with_powers(cells):
    """The cells of growing sizes, each with the exponent of its seconds from the one before."""
    for (n, before), (more, after) in pairwise(cells.items()):
        if "seconds" in before and "seconds" in after:
            growth = math.log(after["seconds"] / before["seconds"])
            after["power"] = growth / math.log(int(more) / int(n))
    return cells


def main(largest):
    """Run every cell, print it, write the JSON."""
    start, found = time.perf_counter(), {}
    sizes = [n for n in SIZES if n <= largest]
    for network, work in product(NETWORKS, WORK):
        cells = {}
        for n in sizes:
            cells[str(n)] = in_its_own_process(work, network, n)
            print(network, work, n, cells[str(n)], flush=True)
        found.setdefault(network, {})[work] = with_powers(cells)
    about = machine(SEED) | {"threads": 1}
    settings = {"n_features": N_FEATURES, "n_classes": N_CLASSES, "limit_seconds": LIMIT_SECONDS}
    minutes = (time.perf_counter() - start) / 60
    write("scale", {"machine": about, **settings, "networks": found, "minutes": minutes})


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(cell(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else SIZES[-1])
