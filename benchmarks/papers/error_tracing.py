"""arXiv:2507.04059, figures 4 and 8 to 10: test images that are misclassified, and why.

    pip install -e ".[benchmarks]" torchvision
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.error_tracing

Three misclassified test images of each set, with the training rows that harmed and helped each most
by SAM-GIF at ten checkpoints. On mnist one label in ten is wrong. The truth beside it: the loss of
the image after training again without its ten most harmful rows, its ten most helpful ones, and
ten random ones (five draws). Writes ``benchmarks/results/papers_error_tracing.json``
and ``docs/images/papers_error_tracing_<set>.png``.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from benchmarks.papers.setting.cases import SEED, run_missing
from benchmarks.papers.setting.sizes import SMALL
from benchmarks.papers.setting.small_data import draw
from benchmarks.papers.setting.small_networks import classifier
from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import GIF
from sam_attribution.plotting import TraceDisplay

PICTURES = Path(__file__).parents[2] / "docs" / "images"
SETS = {"mnist": 0.1, "CIFAR-10": 0.0}  # share of wrong labels
N_SHOWN, N_ROWS, N_REMOVED, N_DRAWS = 3, 4, 10, 5
SIDES = {"harmful": 1, "helpful": -1}  # sign of the rank
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def one_set(name):
    """Draw the picture of one set, and train again without the rows of its images."""
    rows = draw(name, SEED)
    X, truth = rows.train
    y = symmetric_noise(truth, SETS[name], random_state=SEED)[0]
    net = classifier("ResNet", rows, SEED).fit(X, y)
    influence = SAMInfluence(
        FrozenEstimator(net), method=GIF(query="checkpoint", n_checkpoints=10),
        validation=ValidationData(*rows.validation), random_state=SEED,
    ).fit(X, y)  # fmt: skip
    table = influence.explain_errors(*rows.test, k=N_REMOVED, n_errors=N_SHOWN)
    shown = table[table["rank"].abs() <= N_ROWS]
    names = CLASSES if name == "CIFAR-10" else None
    display = TraceDisplay.from_predictions(
        shown, _pictures(rows.test[0]), _pictures(X), class_names=names
    )
    slug = name.replace("-", "").lower()
    display.figure_.savefig(PICTURES / f"papers_error_tracing_{slug}.png", dpi=90)
    return {
        "accuracy": net.score(*rows.test),
        "sides": {side: wrong_among(side, table, y != truth) for side in SIDES},
        "queries": retrained(net, X, y, rows.test, table),
    }


def rows_of(side, table):
    """Training rows of one side, a place for each query and rank."""
    return table[np.sign(table["rank"]) == SIDES[side]]["train_row"].to_numpy()


def wrong_among(side, table, wrong):
    """Places, distinct rows, and the share of wrong labels among the places."""
    rows = rows_of(side, table)
    return {"places": len(rows), "rows": len(set(rows)), "wrong": float(wrong[rows].mean())}


def retrained(net, X, y, test, table):
    """Losses of each image before, and after training again without ten rows of each kind."""
    rng = np.random.default_rng(SEED)
    draws = [rng.choice(len(y), N_REMOVED, replace=False) for _ in range(N_DRAWS)]
    of_draws = [_without(net, X, y, rows) for rows in draws]
    return [
        {
            "before": _loss(net, test, query),
            **{
                side: _loss(_without(net, X, y, rows_of(side, part)), test, query) for side in SIDES
            },
            "random": [_loss(again, test, query) for again in of_draws],
        }
        for query, part in table.groupby("query", sort=False)
    ]


def _without(net, X, y, rows):
    weights = np.ones(len(y), np.float32)
    weights[rows] = 0  # same batches as before
    return clone(net).set_params(trajectory=None).fit(X, y, sample_weight=weights)


def _loss(net, test, query):
    X, y = test
    return float(-np.log(net.predict_proba(X[[query]])[0, y[query]]))


def _pictures(X):
    low, high = X.min((0, 2, 3), keepdims=True), X.max((0, 2, 3), keepdims=True)
    return ((X - low) / (high - low)).squeeze()


def main():
    """Draw the sets that the JSON lacks."""
    argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0]).parse_args()
    warnings.simplefilter("ignore")
    run_missing("papers_error_tracing", SMALL, [(name,) for name in SETS], one_set)


if __name__ == "__main__":
    main()
