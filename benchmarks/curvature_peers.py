"""Damped influence functions beside kronfluence and pyDVL, on the same trained models.

    pip install -e . kronfluence pydvl "zarr<3"
    python -m benchmarks.curvature_peers

Two networks trained with SAM on digits, in float64: 1000 rows, 100 queries. Writes
``benchmarks/results/curvature_peers.json``. One thread.
"""

import time
import warnings
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.curvature import peers
from benchmarks.report import machine, write
from sam_attribution import SAMClassifier
from sam_attribution.curvature import GaussNewton, Hessian
from sam_attribution.linalg import CG, Arnoldi, BlockDiagonal, Dense
from sam_attribution.methods import EKFAC, DataInf, InfluenceFunction
from sam_attribution.probes import Probe, training_scores
from sam_attribution.problem import Queries, problem_from_estimator

SEED, N_ROWS, N_QUERIES, N_CLASSES = 0, 1000, 100, 10
FACTORS = (0.1, 1, 10)  # of the mean eigenvalue: the damping


def mlp():
    return nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))


def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 10, 3), nn.Tanh(), nn.Conv2d(10, 8, 3, stride=2),
        nn.Tanh(), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


NETWORKS = {"MLP 64-24-10": mlp, "CNN, two Conv2d": cnn}


def trained(build):
    """A problem, rows and queries as tensors, and the module for the peers."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(y))
    train, held_out = order[:N_ROWS], order[N_ROWS : N_ROWS + N_QUERIES]
    X = X / 16
    torch.manual_seed(SEED)
    classifier = SAMClassifier(
        build(), rho=0.05, lr=0.1, optimizer__momentum=0.9, batch_size=50, max_epochs=15,
        dtype="float64", random_state=SEED,
    ).fit(X[train], y[train])  # fmt: skip
    problem = problem_from_estimator(classifier, X[train], y[train])
    asked = torch.as_tensor(X[held_out]), torch.as_tensor(y[held_out])
    accuracy = {"training": classifier.score(X[train], y[train])}
    accuracy["queries"] = classifier.score(X[held_out], y[held_out])
    return problem, (problem.X, problem.y), asked, accuracy


def ours(method, problem, asked):
    """Scores of a method, (n_queries, n_rows)."""
    probes = method.prepare(problem).probes(_queries(problem, asked))
    return training_scores(problem, probes, given_only=True).T


def _queries(problem, asked):
    groups = tuple(torch.arange(N_QUERIES).split(1))
    return Queries(problem, *asked, problem.row_loss.per_sample, groups)


def against(scores, reference):
    """Pearson over all pairs and per query, and the error and the factor between the two."""
    per_query = [
        float(torch.corrcoef(torch.stack(pair))[0, 1])
        for pair in zip(scores, reference, strict=True)
    ]
    both = torch.stack([scores.flatten(), reference.flatten()])
    return {
        "pearson": float(torch.corrcoef(both)[0, 1]),
        "pearson_of_a_query": {"mean": float(np.mean(per_query)), "least": min(per_query)},
        "relative_error": float((scores - reference).norm() / reference.norm()),
        "factor": float((scores * reference).sum() / reference.square().sum()),
    }


def timed(run):
    """What `run` returns, and its CPU seconds."""
    start = time.process_time()
    return run(), time.process_time() - start


def table(scores, truth):
    """Agreement of all scores with all of `truth`, with their CPU seconds."""
    return {
        name: {"cpu_seconds": seconds} | {t: against(found, truth[t]) for t in truth}
        for name, (found, seconds) in scores.items()
    }


def exactly(matrix, damping, problem, asked):
    """Scores by a dense solve with a matrix, (n_queries, n_rows)."""
    queries = _queries(problem, asked)
    identity = torch.eye(len(matrix), dtype=matrix.dtype)
    v = queries.directions(problem.params, problem.buffers)
    u = torch.linalg.solve(matrix + damping * identity, v)
    probe = Probe(problem.params, u, problem.buffers)
    return training_scores(problem, [probe], given_only=True).T


def ekfac(problem, rows, asked, damping, ggn):
    """EK-FAC of both libraries against ours, and against the exact Gauss-Newton matrix."""
    blocks = BlockDiagonal(Dense(ggn, symmetric=True), list(problem.layout.layers().values()))
    truth = {
        "exact": exactly(ggn, damping, problem, asked),
        "exact in blocks": exactly(blocks.to_dense(), damping, problem, asked),
    }
    theirs = {
        "kronfluence": {},
        "kronfluence, another seed": {"seed": 1},
        "kronfluence, every label": {"n_classes": N_CLASSES},
    }
    runs = {
        "ours": lambda: ours(EKFAC(damping=damping), problem, asked),
        "ours, one draw": lambda: ours(
            EKFAC(damping=damping, n_draws=1, random_state=SEED), problem, asked
        ),
    } | {
        name: partial(peers.kronfluence, problem.module, rows, asked, damping, **options)
        for name, options in theirs.items()
    }
    scores = {name: timed(run) for name, run in runs.items()}
    truth["ours"], truth["kronfluence"] = scores["ours"][0], scores["kronfluence"][0]
    scores["exact in blocks"] = truth["exact in blocks"], None
    return table(scores, truth)


def datainf(problem, rows, asked, damping):
    """DataInf of pyDVL against ours: all rows in a batch, and 50."""
    truth = {"ours": ours(DataInf(damping=damping), problem, asked)}
    runs = {
        f"pyDVL, batches of {size}": partial(
            peers.pydvl_datainf, problem.module, rows, asked, damping, size
        )
        for size in (len(rows[1]), 50)
    }
    return table({name: timed(run) for name, run in runs.items()}, truth)


def solvers(problem, rows, asked, damping, hessian):
    """CG and Arnoldi of both against a dense solve with the Hessian."""
    truth = {"exact": exactly(hessian, damping, problem, asked)}
    module = problem.module

    def our(solver):
        return ours(InfluenceFunction(damping=damping, solver=solver), problem, asked)

    def their(function, **settings):
        return function(module, rows, asked, damping, **settings)

    exact_cg = {"rtol": 1e-8, "atol": 0.0, "solve_simultaneously": True}
    runs = {
        "ours, CG to 1e-8": lambda: our(CG(tol=1e-8)),
        "pyDVL, CG to 1e-8": lambda: their(peers.pydvl_cg, **exact_cg),
        "pyDVL, CG, its defaults": lambda: their(peers.pydvl_cg, solve_simultaneously=True),
    } | {
        f"{who}, Arnoldi, {n_steps} steps": partial(function, n_steps)
        for n_steps in (20, 80)
        for who, function in {
            "ours": lambda n: our(Arnoldi(n_steps=n, tol=1.0)),
            "pyDVL": lambda n: their(peers.pydvl_arnoldi, n_steps=n, rank=n // 2),
        }.items()
    }
    return table({name: timed(run) for name, run in runs.items()}, truth)


def fisher(problem, rows, asked, damping):
    """The empirical Fisher matrix of both."""
    method = InfluenceFunction(damping=damping, curvature="fisher", solver=CG(tol=1e-10))
    truth = {"ours": ours(method, problem, asked)}
    run = partial(peers.pydvl_fisher, problem.module, rows, asked, damping)
    return table({"pyDVL, dense": timed(run)}, truth)


def one_network(build):
    """All comparisons on one trained network."""
    problem, rows, asked, accuracy = trained(build)
    ggn = GaussNewton(problem, problem.params).to_dense()
    hessian = Hessian(problem, problem.params).to_dense()
    mean, outer = float(ggn.diagonal().mean()), torch.linalg.eigvalsh(hessian)[[0, -1]].tolist()
    positive = 2 * max(0.0, -outer[0]) + mean  # so that CG may have the Hessian
    return {
        "n_parameters": problem.layout.size,
        "accuracy": accuracy,
        "mean_eigenvalue": mean,
        "eigenvalues_of_the_hessian": outer,
        "damping_of_the_hessian": positive,
        "ekfac": {
            f"{factor} x mean eigenvalue": ekfac(problem, rows, asked, factor * mean, ggn)
            for factor in FACTORS
        },
        "datainf": datainf(problem, rows, asked, mean),
        "fisher": fisher(problem, rows, asked, mean),
        "solvers": solvers(problem, rows, asked, positive, hessian),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the peers' deprecations
    content = {"machine": machine(SEED, ("kronfluence", "pydvl"))}
    content |= {"n_rows": N_ROWS, "n_queries": N_QUERIES}
    start = time.perf_counter()
    content["networks"] = {name: one_network(build) for name, build in NETWORKS.items()}
    content["minutes"] = (time.perf_counter() - start) / 60
    write("curvature_peers", content)
