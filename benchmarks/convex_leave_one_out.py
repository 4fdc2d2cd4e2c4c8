"""How well HIF predicts exact leave-one-out on random softmax regressions trained with SAM.

    python -m benchmarks.convex_leave_one_out [n_problems]

Draws problems uniformly (1-3 features, 2-3 classes, at least 200 rows and 25 per free parameter,
rho in .01-.2 and below half of rho_max, weight decay in .01-.2), solves every leave-one-out fixed
point to 1e-10, and writes ``benchmarks/results/convex_leave_one_out.json``.
"""

import json
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
import torch
from scipy.stats import linregress, pearsonr

from sam_attribution.curvature import SAMPoint, sam_jacobian
from sam_attribution.methods import HIF
from sam_attribution.methods._hif import adjoint_probes
from sam_attribution.perturbation import PNorm
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries
from tests.convex import SoftmaxRegression

RESULTS = Path(__file__).parent / "results"
SEED = 0


def draw_settings(rng):
    """One problem's size, radius and weight decay."""
    d, n_classes = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    n = max(200, 25 * (d + 1) * (n_classes - 1)) + int(rng.integers(0, 100))
    seed = int(rng.integers(0, 10_000))
    rho, weight_decay = rng.uniform(0.01, 0.2), rng.uniform(0.01, 0.2)
    return {"seed": seed, "n": n, "d": d, "n_classes": n_classes, "rho": rho} | {
        "weight_decay": weight_decay
    }


def compare(settings):
    """Pearson, slope and parameter errors of one problem; None without fixed points."""
    convex = SoftmaxRegression.draw(perturbation=PNorm(2), **settings)
    if convex.rho >= convex.largest_radius(2) / 2:
        return None
    w = convex.root(convex.minimiser(), convex.ones())
    left_out, residuals = convex.left_out_roots(w)
    if max(residuals.max(), convex.sam_gradient(w, convex.ones()).norm()) > 1e-10:
        return None
    problem = convex.problem(w)
    result = settings | agreement(convex, problem, left_out, settings)
    exact = (left_out - w).T
    for variant in ("full", "fast", "paper"):
        error = (removal_steps(problem, variant) - exact).norm(dim=0) / exact.norm(dim=0)
        result[f"step_error_{variant}"] = float(error.mean())
    return result


def agreement(convex, problem, left_out, settings):
    """Exact leave-one-out values of a fresh set's loss regressed on the scores."""
    fresh = SoftmaxRegression.draw(
        **settings | {"seed": settings["seed"] + 1, "n": 100}, perturbation=None
    )
    queries = Queries(problem, fresh.X, fresh.y, problem.row_loss.per_sample, (torch.arange(100),))
    probes = HIF().prepare(problem).probes(queries)
    scores = training_scores(problem, probes, given_only=True)[:, 0]
    values = torch.stack([queries.values(v, {})[0] for v in left_out])
    truth = values - queries.values(problem.params, {})[0]
    fit = linregress(scores, truth)
    return {"pearson": float(pearsonr(scores, truth).statistic), "slope": float(fit.slope)}


def removal_steps(problem, variant):
    """Predicted parameter change of every removal."""
    point = SAMPoint(problem)
    identity = torch.eye(len(point.w), dtype=torch.float64)
    rows = training_scores(problem, adjoint_probes(point, variant, identity), given_only=True).T
    return torch.linalg.solve(sam_jacobian(point, variant).to_dense(), rows)


def main(n_problems):
    """Run, print a summary, write the JSON."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    rng, start = np.random.default_rng(SEED), time.perf_counter()
    results = [compare(draw_settings(rng)) for _ in range(n_problems)]
    results = [result for result in results if result is not None]
    column = {name: np.array([r[name] for r in results]) for name in results[0]}
    summary = {
        "n_drawn": n_problems,
        "n_with_fixed_points": len(results),
        "pearson_min": column["pearson"].min(),
        "share_pearson_at_least_.99": (column["pearson"] >= 0.99).mean(),
        "slope_min": column["slope"].min(),
        "slope_max": column["slope"].max(),
    }
    summary |= {n: v.mean() for n, v in column.items() if n.startswith("step_error")}
    summary["seconds"] = time.perf_counter() - start
    versions = {m.__name__: m.__version__ for m in (np, scipy, sklearn, torch)}
    machine = {"python": platform.python_version(), "device": "cpu", "threads": 1, "seed": SEED}
    RESULTS.mkdir(exist_ok=True)
    content = {"summary": summary, "machine": machine | versions, "problems": results}
    path = RESULTS / "convex_leave_one_out.json"
    path.write_text(json.dumps(content, indent=1, default=float) + "\n")
    print(json.dumps(summary, indent=1, default=float))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
