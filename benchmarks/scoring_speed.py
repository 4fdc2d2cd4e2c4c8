"""Scores of all training rows against one validation set: our cost, and that of other libraries.

    pip install -e ".[benchmarks]"
    python -m benchmarks.scoring_speed

Writes ``benchmarks/results/scoring_speed.json``. ``python -m benchmarks.scoring.plot`` draws
it. Times are CPU seconds of one thread; every library is timed alternately with ours.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch

from benchmarks.scoring.cases import (
    cnn_batchnorm,
    cnn_groupnorm,
    linear_and_conv,
    make_case,
    mlp,
    our_scores,
    problem_of,
)
from benchmarks.scoring.cost import growth, memory_of_a_pass, passes_per_row
from benchmarks.scoring.peers import PEERS, SIZES
from benchmarks.scoring.timing import against, best_batch_size

RESULT = Path(__file__).parent / "results" / "scoring_speed.json"
SEED = 0
N_VALID, N_CHECKPOINTS, N_REPEATS = 200, 3, 3
CASES = {
    "mlp": (mlp, (784,), 4000),
    "cnn_groupnorm": (cnn_groupnorm, (3, 32, 32), 2000),
}
WITHOUT_PEERS = {"cnn_batchnorm": (cnn_batchnorm, (3, 32, 32), 2000)}


def one_case(build, shape, n_rows):
    """All libraries on one model, and the parts of our own cost."""
    case = make_case(build, shape, n_rows, N_VALID, N_CHECKPOINTS, SEED)
    problem = problem_of(case)
    sizes = {name: _batch_size(name, case) for name in PEERS}
    latest = {}
    functions = {name: _kept(latest, name, PEERS[name](case, sizes[name])) for name in PEERS}
    timings = against(lambda: our_scores(case, problem), functions, N_REPEATS)
    about = {"n_rows": n_rows, "n_valid": N_VALID, "n_checkpoints": N_CHECKPOINTS}
    peers = {
        name: {"batch_size": sizes[name]} | agreement(case, problem, latest[name]) | timings[name]
        for name in PEERS
    }
    return about | {"peers": peers} | our_cost(build, shape, n_rows)


def our_cost(build, shape, n_rows):
    """Forward passes per row and memory of one batch."""
    case = make_case(build, shape, n_rows, N_VALID, 1, SEED)
    return {
        "n_parameters": sum(p.numel() for p in case.module.parameters()),
        "passes_per_row": passes_per_row(case),
        "memory_of_a_pass": memory_of_a_pass(case),
    }


def _batch_size(name, case):
    sizes = SIZES[name]
    return sizes[0] if len(sizes) == 1 else best_batch_size(PEERS[name], case, sizes)


def _kept(latest, name, scores):
    def run():
        latest[name] = scores()

    return run


def agreement(case, problem, scores):
    """Of a peer's scores with ours, over all parameters or over those that it takes."""
    linear = linear_and_conv(case.module)
    ours = {
        "all": our_scores(case, problem),
        "Linear and Conv2d": our_scores(case, problem, linear),
    }
    errors = {name: float((scores - s).norm() / s.norm()) for name, s in ours.items()}
    which = min(errors, key=errors.get)
    pearson = torch.corrcoef(torch.stack([scores, ours["all"]]).double())[0, 1]
    return {
        "parameters": which,
        "relative_error": errors[which],
        "relative_error_all_parameters": errors["all"],
        "pearson_all_parameters": float(pearson),
    }


def large_run():
    """A run of 50,000 rows and a million parameters, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scoring.large"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def machine():
    """Versions, device, threads and seed."""
    packages = ("torch", "captum", "dattri", "kronfluence", "numpy", "scikit-learn", "skorch")
    versions = {name: importlib.metadata.version(name) for name in packages}
    about = {"python": platform.python_version(), "device": "cpu", "threads": 1, "seed": SEED}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return about | versions | {"load_at_start": load, "cores": os.cpu_count()}


def main():
    """Run all parts, write the JSON."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the peers' deprecations
    start, content = time.perf_counter(), {"machine": machine()}
    content["large_run"] = large_run()
    with contextlib.redirect_stderr(open(os.devnull, "w")):  # the peers' progress bars
        content["cases"] = {name: one_case(*settings) for name, settings in CASES.items()}
        content["costs"] = {name: our_cost(*settings) for name, settings in WITHOUT_PEERS.items()}
        content["growth"] = growth((1000, 3000, 10_000, 30_000, 100_000), (1, 2, 5, 10, 20))
    content["minutes"] = (time.perf_counter() - start) / 60
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
