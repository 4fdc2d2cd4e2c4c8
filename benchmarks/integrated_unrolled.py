"""Unrolled scores at row weights 1, 1/2 and 0, and their integral, against leaving rows out.

    python -m benchmarks.agreement mnist
    python -m benchmarks.integrated_unrolled

The networks and the truth of ``agreement_mnist.json``. The rows left out there (60 of 3000; CNN 24)
are one group: ``IntegratedUnrolled(n_groups=50)`` would have 50 of that size. Writes
``benchmarks/results/integrated_unrolled.json`` after every network and goes on from there; one
thread.
"""

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

from benchmarks.agreement import CASES, SEED, rows
from benchmarks.report import machine, read, write
from sam_attribution import SAMClassifier
from sam_attribution.diagnosis import unrolled_scores
from sam_attribution.problem import (
    FunctionalRun,
    FunctionalTraining,
    Queries,
    evaluation_function,
    problem_from_estimator,
)

BETWEEN = (0.5, 0.0)


def derivatives(name, left_out):
    """Scores of the rows left out with all of them at each weight below 1."""
    build, settings, _ = CASES["mnist"][name]
    settings = {"random_state": SEED, "optimizer__momentum": 0.9} | settings
    seed = settings["random_state"]
    X, y, _, validation = rows("mnist", 0.1 if "wrong" in name else 0.0, seed)
    torch.manual_seed(seed)
    problem = problem_from_estimator(SAMClassifier(build(), **settings).fit(X, y), X, y)
    asked = torch.tensor(validation.X), torch.tensor(validation.y)
    every = (torch.arange(len(asked[1])),)
    queries = Queries(problem, *asked, evaluation_function("loss", problem.row_loss), every)
    found = {}
    for weight in BETWEEN:
        weights = torch.ones(len(y))
        weights[left_out] = weight
        training = FunctionalTraining(problem, weights)
        scores = unrolled_scores(training, FunctionalRun(training).backwards(), queries)
        found[str(weight)] = scores[left_out, 0].double().numpy()
    return found


def figures(scores, truth):
    return {
        "pearson": float(pearsonr(scores, truth)[0]),
        "spearman": float(spearmanr(scores, truth)[0]),
        "slope": float(np.polyfit(scores, truth, 1)[0]),
    }


def main():
    """Run all networks with smooth activations."""
    torch.set_num_threads(1)
    networks = read("agreement_mnist")["networks"]
    content = read("integrated_unrolled", {"machine": machine(SEED), "networks": {}})
    for name in [name for name in networks if "relu" not in name]:
        if name in content["networks"]:
            continue
        known = {key: np.array(values) for key, values in networks[name]["scores"].items()}
        at = {"1.0": known["unrolled"]} | derivatives(name, networks[name]["left_out"])
        at["integral"] = (at["1.0"] + 4 * at["0.5"] + at["0.0"]) / 6
        lines = {weight: figures(scores, known["truth"]) for weight, scores in at.items()}
        content["networks"][name] = lines
        print(name, {key: round(line["pearson"], 3) for key, line in lines.items()}, flush=True)
        write("integrated_unrolled", content)


if __name__ == "__main__":
    main()
