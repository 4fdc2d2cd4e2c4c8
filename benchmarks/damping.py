"""Automatic damping beside every damping on a grid, against leave-one-out.

    pip install -e ".[benchmarks]"
    python -m benchmarks.agreement digits
    python -m benchmarks.agreement mnist
    python -m benchmarks.damping

Networks, rows and truth are those of ``benchmarks.agreement``, whose JSON has to be there. Writes
``benchmarks/results/damping.json`` after every network, and goes on from there. One thread.
"""

import warnings

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from benchmarks.agreement import CASES, SEED, rows
from benchmarks.report import machine, read, write
from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.methods import HIF
from sam_attribution.metrics import detection

GRID = (0.01, 0.03, 0.05, 0.1, 0.2, 0.5)
NETWORKS = {
    "digits": ("MLP gelu, rho 0.05, seed 0", "MLP tanh, rho 0.05, seed 0",
               "MLP relu, rho 0.05, seed 1", "CNN gelu, batch norm"),
    "mnist": ("MLP gelu, seed 0", "MLP tanh, seed 1"),
}  # fmt: skip
FAST, FULL, BATCHES = {"variant": "fast"}, {}, {"ascent": "batch"}
VARIANTS = {
    "digits": {"hif": (FULL, GRID), "hif-fast": (FAST, GRID), "hif, batches": (BATCHES, ())},
    "mnist": {"hif-fast": (FAST, GRID)},
}


def trained(part, name):
    """The network of the agreement table, its wrong rows and the validation rows."""
    build, settings, _ = CASES[part][name]
    settings = {"random_state": SEED, "optimizer__momentum": 0.9} | settings
    seed = settings["random_state"]
    X, y, wrong, validation = rows(part, 0.1 if part == "digits" else 0.0, seed)
    torch.manual_seed(seed)
    return SAMClassifier(build(), **settings).fit(X, y), X, y, wrong, validation


def figures(run, method, truth):
    """Pearson with truth, AUC of the wrong rows, and the damping."""
    classifier, X, y, wrong, validation = run
    influence = SAMInfluence(FrozenEstimator(classifier), method=method, validation=validation)
    scores = influence.fit(X, y).scores_
    found = {
        "damping": float(influence.diagnostics_["damping"].iloc[0]),
        "pearson": float(np.corrcoef(scores[truth["rows"]], truth["scores"])[0, 1]),
    }
    if wrong.any():
        found["auc"] = float(detection(scores, wrong)["auc"])
    return found


def one_network(part, name):
    """Every variant at every damping, and at the one chosen."""
    agreement = read(f"agreement_{part}", None)["networks"][name]
    truth = {"rows": agreement["left_out"], "scores": agreement["scores"]["truth"]}
    run, table = trained(part, name), {}
    for label, (settings, grid) in VARIANTS[part].items():
        methods = [HIF(**settings, damping=damping) for damping in ("auto", *grid)]
        table[label] = [figures(run, method, truth) for method in methods]
        print(part, name, label, *(f"{row}" for row in table[label]), sep="\n  ", flush=True)
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="the SAM Jacobian has eigenvalues near 0")
    content = read("damping", {"machine": machine(SEED), "networks": {}})
    for part, names in NETWORKS.items():
        for name in names:
            if (key := f"{part}, {name}") not in content["networks"]:
                content["networks"][key] = one_network(part, name)
                write("damping", content)
