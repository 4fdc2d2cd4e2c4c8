"""arXiv:2507.04059, figures 1 to 3 and 5 to 7: training again without harmful or helpful rows.

    pip install -e ".[benchmarks]" torchvision
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.removal_curves         (mnist, ResNets)
    python -m benchmarks.papers.removal_curves "mnist, ResNet"                       (some)
    python -m benchmarks.papers.removal_curves --full                         (the paper's size)

A fifth of the labels is wrong. Rows with the lowest scores (most harmful), with the highest (most
helpful, by three of the methods), or random ones (three draws) are removed, 10, 20 and 40 %, and
the network is trained again from the same start: accuracy on 2000 test rows with right labels. Of
the wrong labels, the share among the lowest 20 and 40 % of the scores. Writes
``benchmarks/results/papers_removal_curves.json`` after each network and goes on from there.
"""

import warnings
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from benchmarks.papers.setting.cases import REFUSALS, few_networks, run_missing
from benchmarks.papers.setting.sizes import asked
from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import EKFAC, Unrolled

PERCENT, N_RANDOM, NOISE = (10, 20, 40), 3, 0.2
METHODS = {
    "unrolled": {"method": Unrolled(check=None)},
    "SAM-GIF": {"method": "gif"},
    "SAM-HIF (fast), head": {"method": "hif-fast", "parameters": "head"},
    "TRAK": {"method": "trak"},
    "EK-FAC": {"method": EKFAC(unsupported="skip")},
}
BOTH_SIDES = ("unrolled", "SAM-GIF", "SAM-HIF (fast), head")  # the others: harmful rows only


def one_network(size, data, network, seed):
    """Accuracies after every removal, and the wrong labels found."""
    rows = size.draw(data, seed)
    X, truth = rows.train
    y, wrong = symmetric_noise(truth, NOISE, random_state=seed)
    net, seconds = size.timed(lambda: size.classifier(network, rows, seed).fit(X, y))

    def accuracies(order):
        return {f"{p} %": accuracy_without(net, X, y, order, p, rows.test) for p in PERCENT}

    found = {"seconds_training": seconds, "accuracy": net.score(*rows.test), "methods": {}}
    for name, settings in size.scored(METHODS).items():
        influence = SAMInfluence(
            FrozenEstimator(net), validation=ValidationData(*rows.validation),
            random_state=0, **settings,
        )  # fmt: skip
        try:
            _, taken = size.timed(lambda influence=influence: influence.fit(X, y))
        except REFUSALS as error:
            found["methods"][name] = {"refused": str(error)}
            continue
        order = np.argsort(influence.scores_, kind="stable")
        found["methods"][name] = {
            "seconds": taken,
            "harmful": accuracies(order),
            **({"helpful": accuracies(order[::-1])} if name in BOTH_SIDES else {}),
            "found": {f"{p} %": share_found(order, wrong, p) for p in (20, 40)},
        }
    draws = [np.random.default_rng(seed).permutation(len(y)) for seed in range(N_RANDOM)]
    found["random"] = [accuracies(order) for order in draws]
    found["wrong labels out"] = accuracy_without(net, X, y, np.flatnonzero(wrong), 100, rows.test)
    return found


def accuracy_without(net, X, y, order, percent, test):
    """Accuracy after training without the first rows of `order`."""
    keep = np.setdiff1d(np.arange(len(y)), order[: len(order) * percent // 100])
    again = clone(net).set_params(trajectory=None)
    return float(again.fit(X[keep], y[keep]).score(*test))


def share_found(order, wrong, percent):
    return float(wrong[order[: len(order) * percent // 100]].sum() / wrong.sum())


def main():
    """Measure the networks that the JSON lacks."""
    size, names = asked(__doc__)
    warnings.simplefilter("ignore")
    cases = few_networks(names, {}, size)
    run_missing("papers_removal_curves", size, cases, partial(one_network, size))


if __name__ == "__main__":
    main()
