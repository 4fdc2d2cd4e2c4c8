"""How well gradient-based scores predict further training, and for how long.

    SAM_ATTRIBUTION_DATA=... python -m benchmarks.further_training [concrete] [adult]

50 rows left out one by one, 20 seeds, up to 100 epochs, 50 queries. Writes
``benchmarks/results/further_training.json``; ``python -m benchmarks.further.plot`` draws it.
With ``--from-module`` the trained network is adopted first, and the file is
``further_training_from_module.json``. ``--seeds 2`` takes the first two seeds only, and
``--methods GIF "IF, damping 1.0"`` these methods.
"""

import argparse
import copy
import time
import warnings

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from benchmarks.further.cases import CASES, SETTINGS
from benchmarks.report import machine, read, write
from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.comparison import further_training
from sam_attribution.linalg import GMRES
from sam_attribution.methods import GIF, HIF, GradCos, GradDot, InfluenceFunction, TracIn
from sam_attribution.metrics import similarity_curve
from sam_attribution.retraining import FurtherTraining
from sam_attribution.training import Checkpoint

SEED, N_LEFT_OUT, N_SEEDS, N_EPOCHS = 0, 50, 20, 100
AMOUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
N_JOBS = 2
ADJUSTMENTS = ("full-data", "mean")
SEED_NUMBERS, OVER_SEEDS_AT = (1, 2, 3, 5, 7, 10, 15, 20), (1, 10, 100)


def methods():
    """First-order methods, and those that solve: the plain influence function forgets SAM."""
    solver = GMRES(tol=1e-3, max_iter=100)
    first_order = {"Grad-Dot": GradDot(), "Grad-Cos": GradCos(), "TracIn": TracIn(), "GIF": GIF()}
    second_order = {
        "IF": (InfluenceFunction(solver=solver), ("auto", 0.01, 0.1, 1.0)),
        "IF, GGN": (InfluenceFunction(solver=solver, curvature="ggn"), (0.01, 0.1)),
        "HIF-fast": (HIF("fast", solver=solver), ("auto", 0.01, 0.1, 1.0)),
        "HIF": (HIF(solver=solver), ("auto", 0.1, 1.0)),
    }
    return first_order | {
        f"{name}, damping {damping}": clone(method).set_params(damping=damping)
        for name, (method, dampings) in second_order.items()
        for damping in dampings
    }


def scores_of(case, net, method):
    """Scores of all rows for each query, (n_query, n_samples), and what the method noted."""
    influence = SAMInfluence(
        FrozenEstimator(net), method=method, validation=ValidationData(case.X_query, case.y_query)
    )
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        influence.fit(case.X, case.y)
        scores = influence.attribute(case.X_query, case.y_query)
    noted = influence.diagnostics_.iloc[0].to_dict()
    names = ("damping", "residual", "stationarity")
    about = {name: float(noted[name]) for name in names if name in noted}
    said = sorted({str(warning.message).split(":")[0] for warning in caught})
    return scores, about | {"warnings": said, "seconds": time.perf_counter() - start}


def further_values(case, net, rows, n_seeds):
    """What further training finds for the rows."""
    method = FurtherTraining(
        n_epochs=N_EPOCHS,
        n_seeds=n_seeds,
        rows=rows,
        random_state=SEED,
        models_at_once=-(-(N_LEFT_OUT + 1) // N_JOBS),
        n_jobs=N_JOBS,
        verbose=1,
    )
    queries = case.X_query, case.y_query
    return further_training(net, case.X, case.y, *queries, method=method, evaluate_at=AMOUNTS)


def adopted(case, net):
    """The trained network and its recorded stretches, as ``from_module`` takes them."""
    network, run = copy.deepcopy(net.module_), net.trajectory_
    params = {state.step: state.params for state in run.states}
    checkpoints = []
    for part in run.stretches:
        torch.nn.utils.vector_to_parameters(params[part.middle], network.parameters())
        rate = sum(step.rates[0] for step in run.schedule[part.first : part.last])
        rows = run.schedule[part.middle].indices
        checkpoints.append(Checkpoint(network.state_dict(), rate=rate, rows=rows))
    known = {name: SETTINGS[name] for name in ("lr", "batch_size", "rho")}
    return type(net).from_module(
        net.module_, case.X, case.y, checkpoints=checkpoints, random_state=SEED, **known
    )


def one_case(name, chosen, *, from_module=False, n_seeds=N_SEEDS):
    """Curves of the chosen methods on one data set."""
    case = CASES[name](SEED)
    net = case.net.fit(case.X, case.y)
    net = adopted(case, net) if from_module else net
    rows = np.sort(np.random.default_rng(SEED).choice(len(case.y), N_LEFT_OUT, replace=False))
    start = time.perf_counter()
    truth = further_values(case, net, rows, n_seeds)
    seconds = time.perf_counter() - start
    found, about = {}, {}
    for method_name, method in chosen.items():
        scores, about[method_name] = scores_of(case, net, method)
        found[method_name] = scores[:, rows]
        print(name, method_name, about[method_name], flush=True)
    return {
        "n_samples": len(case.y),
        "n_features": case.X.shape[1],
        "n_parameters": sum(p.numel() for p in net.module_.parameters()),
        "score_train": net.score(case.X, case.y),
        "score_queries": net.score(case.X_query, case.y_query),
        "methods": about,
        "seconds_further_training": seconds,
        "adjustments": {each: agreement(truth, found, each) for each in ADJUSTMENTS},
    }


def agreement(truth, found, adjustment):
    """Cosines over the amounts, over the number of seeds, and of the truth with itself."""
    adjusted, mean = truth.adjusted(adjustment), truth.curves(adjustment)
    error = truth.standard_errors(adjustment)
    half = adjusted.shape[1] // 2
    first, second = adjusted[:, :half].mean(1), adjusted[:, half:].mean(1)
    numbers = [n for n in SEED_NUMBERS if n <= adjusted.shape[1]]
    return {
        "curves": {name: curve(scores, mean, truth.amounts) for name, scores in found.items()},
        # each amount is its own truth
        "half of the seeds with the other": joined(
            [
                curve(one, other[None], [t])
                for t, one, other in zip(truth.amounts, first, second, strict=True)
            ]
        ),
        "end of the training": curve(mean[-1], mean, truth.amounts),
        "over_seeds": {
            str(amount): {
                name: joined([curve(scores, adjusted[at, :n].mean(0)[None], [n]) for n in numbers])
                for name, scores in found.items()
            }
            for at, amount in enumerate(truth.amounts)
            if amount in OVER_SEEDS_AT
        },
        "mean_square_effect": np.square(mean).mean((1, 2)).tolist(),
        "mean_square_standard_error": np.square(error).mean((1, 2)).tolist(),
    }


def curve(scores, truth, amounts):
    """A similarity curve as JSON takes it."""
    return similarity_curve(scores, truth, amounts).reset_index().to_dict("list")


def joined(curves):
    """Several curves one behind the other."""
    return {key: [value for each in curves for value in each[key]] for key in curves[0]}


def main():
    """Run the data sets, write each into the JSON when it is done."""
    asked = arguments()
    torch.set_num_threads(1)
    file = "further_training_from_module" if asked.from_module else "further_training"
    settings = SETTINGS | {"n_left_out": N_LEFT_OUT, "n_seeds": asked.seeds, "n_epochs": N_EPOCHS}
    for name in asked.names or CASES:
        about = {"machine": machine(SEED) | {"jobs": N_JOBS}, "settings": settings}
        start = time.perf_counter()
        chosen = {each: methods()[each] for each in asked.methods or methods()}
        found = one_case(name, chosen, from_module=asked.from_module, n_seeds=asked.seeds)
        found["minutes"] = (time.perf_counter() - start) / 60
        write(file, read(file, default={}) | {name: about | found})


def arguments():
    """What the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="case", help="concrete, adult; both by default")
    parser.add_argument("--from-module", action="store_true")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--methods", nargs="+", choices=list(methods()))
    return parser.parse_args()


if __name__ == "__main__":
    main()
