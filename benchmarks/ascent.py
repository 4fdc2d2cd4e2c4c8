"""The ascent of each batch in HIF-fast beside that of all rows: agreement, and price.

    pip install -e ".[benchmarks]"
    python -m benchmarks.agreement digits
    python -m benchmarks.agreement mnist
    python -m benchmarks.ascent

Networks, rows and truth are those of ``benchmarks.agreement``, whose JSON has to be there: the
smooth ones. The price is CPU seconds of ``fit`` with ``ascent="batch"`` over those with "full".
Writes ``benchmarks/results/ascent.json`` after every network, and goes on from there. One thread.
"""

import time
import warnings

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from benchmarks.agreement import SEED, network
from benchmarks.report import machine, read, write
from sam_attribution import SAMInfluence
from sam_attribution.methods import HIF
from sam_attribution.metrics import agreement

NETWORKS = {
    "digits": (
        *(
            f"MLP {name}, rho {rho}, seed {seed}"
            for name in ("gelu", "tanh")
            for rho in (0.05, 0.1)
            for seed in range(3)
        ),
        "CNN gelu, batch norm",
    ),
    "mnist": ("MLP gelu, seed 0", "MLP tanh, seed 0", "MLP gelu, seed 1", "MLP tanh, seed 1"),
}


def figures(classifier, X, y, validation, method, truth):
    """Agreement with leaving rows out, CPU seconds, and the damping that was chosen."""
    influence = SAMInfluence(FrozenEstimator(classifier), method=method, validation=validation)
    start = time.process_time()
    scores = influence.fit(X, y).scores_
    seconds = time.process_time() - start
    table = agreement(scores[truth["rows"]], np.asarray(truth["scores"]))
    return table.iloc[0].to_dict() | {
        "seconds": seconds,
        "damping": float(influence.diagnostics_["damping"].iloc[0]),
    }


def one_network(part, name):
    """Figures of HIF-fast with the ascent of all rows and of each batch."""
    known = read(f"agreement_{part}", None)["networks"][name]
    truth = {"rows": known["left_out"], "scores": known["scores"]["truth"]}
    (classifier, X, y), given, _ = network(part, name)
    classifier.fit(X, y)
    table = {}
    for ascent in ("full", "batch"):
        method = HIF("fast", ascent=ascent)
        table[ascent] = figures(classifier, X, y, given["validation"], method, truth)
        print(part, name, ascent, table[ascent], flush=True)
    return table


def print_table(networks):
    """Mean figures of each kind of network, and the mean and range of the cost."""
    kinds = {}
    for name, table in networks.items():
        kinds.setdefault(name.split(", rho")[0].split(", seed")[0], []).append(table)
    for kind, tables in kinds.items():
        costs = [table["batch"]["seconds"] / table["full"]["seconds"] for table in tables]
        higher = sum(table["batch"]["pearson"] > table["full"]["pearson"] for table in tables)
        print(f"{kind}: {len(tables)} runs, batch has the higher Pearson in {higher}, "
              f"cost {min(costs):.1f} to {max(costs):.1f}")  # fmt: skip
        for ascent in ("full", "batch"):
            mean = {
                name: round(float(np.mean([table[ascent][name] for table in tables])), 3)
                for name in ("pearson", "spearman", "slope")
            }
            print("   ", ascent, mean)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="the SAM Jacobian has eigenvalues near 0")
    content = read("ascent", {"machine": machine(SEED), "networks": {}})
    for part, names in NETWORKS.items():
        for name in names:
            if (key := f"{part}, {name}") not in content["networks"]:
                content["networks"][key] = one_network(part, name)
                write("ascent", content)
    print_table(content["networks"])
