"""arXiv:2507.04059, figures 4 and 8 to 10: test images that are misclassified, and why.

    pip install -e ".[benchmarks]" torchvision
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.tracing

Three misclassified test images of each set, with the training rows that harmed and helped each most
by SAM-GIF at ten checkpoints. Nothing in the labels is wrong by intention, but one in ten of
mnist. The truth beside it: the loss of the image after training again without the ten most harmful
rows, the ten most helpful, and ten random ones. Writes ``benchmarks/results/papers_tracing.json``
and ``docs/images/papers_tracing_<set>.png``.
"""

import warnings
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from benchmarks.papers.data import draw
from benchmarks.papers.networks import classifier
from benchmarks.papers.runs import SEED, run_missing
from benchmarks.papers.scale import SMALL
from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import GIF
from sam_attribution.plotting import TraceDisplay

PICTURES = Path(__file__).parents[2] / "docs" / "images"
SETS = {"mnist": 0.1, "CIFAR-10": 0.0}  # share of wrong labels
N_SHOWN, N_ROWS, N_REMOVED = 3, 4, 10
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def one_set(name):
    """Draw the picture of one set, and train again without the rows of its first image."""
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
    display.figure_.savefig(PICTURES / f"papers_tracing_{slug}.png", dpi=90)
    queries = table["query"].unique()
    return {
        "accuracy": net.score(*rows.test),
        "wrong_among_harmful": float(_wrong(table, y, truth)),
        "queries": [retrained(net, X, y, rows.test, table, query) for query in queries],
    }


def retrained(net, X, y, test, table, query):
    """Loss of an image before, and after training again without ten rows of each kind."""
    of_query = table[table["query"] == query]
    rng = np.random.default_rng(SEED)
    without = {
        "harmful": of_query[of_query["rank"] > 0]["train_row"].to_numpy(),
        "helpful": of_query[of_query["rank"] < 0]["train_row"].to_numpy(),
        "random": rng.choice(len(y), N_REMOVED, replace=False),
    }
    found = {"before": _loss(net, test, query)}
    for kind, rows in without.items():
        weights = np.ones(len(y), np.float32)
        weights[rows] = 0  # same batches as before
        again = clone(net).set_params(trajectory=None).fit(X, y, sample_weight=weights)
        found[kind] = _loss(again, test, query)
    return found


def _loss(net, test, query):
    X, y = test
    return float(-np.log(net.predict_proba(X[[query]])[0, y[query]]))


def _wrong(table, y, truth):
    harmful = table[table["rank"] > 0]["train_row"]
    return (y != truth)[harmful].mean()


def _pictures(X):
    low, high = X.min((0, 2, 3), keepdims=True), X.max((0, 2, 3), keepdims=True)
    return ((X - low) / (high - low)).squeeze()


def main():
    """Draw the sets that the JSON lacks."""
    warnings.simplefilter("ignore")
    run_missing("papers_tracing", SMALL, [(name,) for name in SETS], one_set)


if __name__ == "__main__":
    main()
