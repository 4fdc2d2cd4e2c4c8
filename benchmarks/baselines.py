"""All methods on the same networks: how right, how good at wrong labels, at what price.

    pip install -e ".[benchmarks]"
    python -m benchmarks.baselines
    python -m benchmarks.baselines --price unrolled    # of some methods again, in the file
    python -m benchmarks.baselines_plot    # the picture, from the JSON alone

One label in ten is wrong. On digits every row is left out in turn, and on its MLPs 100 random
halves of the rows; on mnist that costs too much, so that AUC, time and memory alone are measured
there. Price is CPU seconds of one thread over those of one SAM training of the network, both
medians of three (of one for what costs more than three trainings, on mnist half a training).
Memory is the peak above what the process held before. Writes
``benchmarks/results/baselines.json`` after every network, and goes on from there: delete it to
begin again.
"""

import argparse
import ctypes
import sys
import time
import warnings
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks.agreement import DIGITS, MNIST, MNIST_CNN, digits_cnn, mlp, mnist_cnn, rows
from benchmarks.report import machine, read, write
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.comparison import leave_one_out
from sam_attribution.methods import EKFAC, GIF, HIF, DataInf, InfluenceFunction, Unrolled
from sam_attribution.metrics import agreement, detection, linear_datamodelling_score
from sam_attribution.retraining import LeaveOneOut

SEED, N_REPEATS, N_SUBSETS = 0, 3, 100
AGREEMENT = ["pearson", "spearman", "slope"]
PRINTED = ("pearson", "lds", "auc", "trainings", "peak_memory_mib")
MARGIN = {"evaluation": "margin"}

# name: settings of SAMInfluence
METHODS = {
    **{name: {"method": name} for name in ("gif", "tracin", "grad-dot", "grad-cos")},
    "gif, every step": {"method": GIF(n_checkpoints=None)},
    "gif, worst class": {"method": "gif", "aggregate": "worst-class"} | MARGIN,
    "self-influence": {"method": "self-influence"},
    **{name: {"method": name} for name in ("if", "cg", "arnoldi", "lissa", "lissa-h", "relatif")},
    "if, w+eps": {"method": InfluenceFunction(at="w+eps")},
    "ekfac": {"method": "ekfac"},
    "ekfac, w+eps": {"method": EKFAC(at="w+eps")},
    "datainf": {"method": "datainf"},
    "datainf, w+eps": {"method": DataInf(at="w+eps")},
    "trak": {"method": "trak"},
    "trak, margin": {"method": "trak"} | MARGIN,
    **{name: {"method": name} for name in ("hif-fast", "hif-paper", "hif")},
    "hif, batches": {"method": HIF(ascent="batch")},
    "hif, not stationary": {"method": HIF(stationary=False)},
    "unrolled, no check": {"method": Unrolled(check=None)},
    "unrolled": {"method": "unrolled"},
}
NOT_RUN = {
    "integrated-unrolled": "some 200 trainings; benchmarks/integrated_unrolled.py measures it",
    "fixed-point": "for convex models; benchmarks/convex_leave_one_out.py measures it",
    "further-training": "another question; benchmarks/further_training.py measures it",
}
CHECKPOINTS = dict.fromkeys(("gif", "gif, worst class", "tracin", "self-influence"), 10)


@dataclass(frozen=True)
class Network:
    """What is trained, on how many rows, and how much of the truth is found out."""

    build: object
    settings: dict
    part: str = "digits"
    n_rows: int = 300
    n_validation: int = 1000
    left_out: bool = True
    n_subsets: int = 0
    repeated_below: float = 3  # trainings
    too_slow: dict = field(default_factory=dict)  # and why


_RELATIF = "above 60 trainings by count: a product with the Hessian for every row and class"
_BY_PASSES = {"gif", "gif, every step", "tracin", "grad-dot"}  # whose price passes bound
NETWORKS = {
    "digits MLP gelu": Network(partial(mlp, 64, 32, nn.GELU), DIGITS, n_subsets=N_SUBSETS),
    "digits MLP tanh": Network(partial(mlp, 64, 32, nn.Tanh), DIGITS, n_subsets=N_SUBSETS),
    "digits CNN gelu": Network(partial(digits_cnn, nn.GELU, False), DIGITS | {"lr": 0.3}),
    "mnist MLP gelu": Network(
        partial(mlp, 784, 128, nn.GELU), MNIST, "mnist", n_rows=1500, left_out=False,
        repeated_below=0.5,
        too_slow={
            "self-influence": "some 80 trainings: 10 states at the 8 of grad-cos",
            "relatif": _RELATIF,
        },
    ),
    "mnist CNN gelu": Network(
        partial(mnist_cnn, nn.GELU, nn.AvgPool2d), MNIST_CNN, "mnist", n_rows=150,
        n_validation=50, left_out=False, repeated_below=0.5,
        too_slow={"relatif": _RELATIF},
    ),
    "mnist CNN gelu, 3000 rows": Network(
        partial(mnist_cnn, nn.GELU, nn.AvgPool2d), MNIST_CNN, "mnist", n_rows=3000,
        left_out=False, repeated_below=0.5,
        too_slow=dict.fromkeys(set(METHODS) - _BY_PASSES, "150 rows tell its price"),
    ),
}  # fmt: skip


def one_network(network):
    """Figures of all methods, and the truth that they are held against."""
    clf, (X, y, wrong, validation), seconds = trained(network)
    model = FrozenEstimator(clf)
    about = {
        "n_rows": len(y),
        "n_validation": len(validation.y),
        "n_parameters": sum(p.numel() for p in clf.module_.parameters()),
        "n_epochs": clf.max_epochs,
        "seconds_training": seconds,
        "accuracy": float(np.mean(clf.predict(validation.X) == validation.y)),
        "accuracy_on_given_labels": float(np.mean(clf.predict(X) == y)),
    }
    truth = Truth(network, model, X, y, wrong, validation)
    print(about, truth.trainings(seconds), flush=True)
    score = partial(scored, model, X, y, validation, network.repeated_below * seconds)
    methods = truth.itself(seconds)
    for name in METHODS:
        if name not in network.too_slow:
            found = truth.figures(*score(METHODS[name]))
            found["trainings"] = found["seconds"] / seconds
            methods[name] = found | bound(name, about["n_epochs"])
            print(name, {key: round(found[key], 3) for key in PRINTED if key in found}, flush=True)
    own_loss = np.log(clf.predict_proba(X)[np.arange(len(y)), y])  # negated: lowest is suspicious
    return about | {
        "truth_in_trainings": truth.trainings(seconds),
        "methods": methods,
        "auc_of_own_loss": float(detection(own_loss, wrong)["auc"]),
        "not_run": NOT_RUN | network.too_slow,
    }


def trained(network):
    """The network after training, its rows, and the median seconds of a training."""
    X, y, wrong, validation = rows(network.part, 0.1, SEED)
    X, y, wrong = (part[: network.n_rows] for part in (X, y, wrong))
    n_validation = network.n_validation
    validation = ValidationData(validation.X[:n_validation], validation.y[:n_validation])
    settings = {"rho": 0.05, "optimizer__momentum": 0.9, "random_state": SEED} | network.settings
    torch.manual_seed(SEED)
    clf = SAMClassifier(network.build(), **settings)
    clf.fit(X, y)  # pays for what torch does on its first call only
    seconds = median(cpu_seconds(partial(clf.fit, X, y)) for _ in range(N_REPEATS))
    return clf, (X, y, wrong, validation), seconds


def price_again(network, names, found):
    """Put new prices of some methods in the place of those found before."""
    clf, (X, y, _, validation), seconds = trained(network)
    for name in set(names) - set(network.too_slow):
        given = X, y, validation, network.repeated_below * seconds, METHODS[name]
        _, price = scored(FrozenEstimator(clf), *given)
        # the peak of memory is seen by who comes first in a process
        found[name] |= {"seconds": price["seconds"], "trainings": price["seconds"] / seconds}
        print(name, round(found[name]["trainings"], 3), flush=True)


def scored(model, X, y, validation, repeated_below, settings):
    """Scores of one method, and their price; repeated if it took less seconds than that."""
    influence = SAMInfluence(model, validation=validation, random_state=SEED, **settings)
    return_memory()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        taken = [cpu_seconds(lambda: influence.fit(X, y))]
    peak = float(influence.diagnostics_["peak_memory_mib"][0])
    with warnings.catch_warnings(action="ignore"):
        while taken[0] < repeated_below and len(taken) < N_REPEATS:
            taken.append(cpu_seconds(lambda: influence.fit(X, y)))
    price = {
        "seconds": median(taken),
        "peak_memory_mib": peak,
        "damping": influence.diagnostics_.to_dict("records")[0].get("damping"),
        "warnings": sorted({str(each.message).split(". ")[0] for each in caught}),
    }
    return influence.scores_, price


class Truth:
    """What training again finds, and how scores agree with it."""

    def __init__(self, network, model, X, y, wrong, validation):
        self._wrong, self._seconds = wrong, {}
        if network.left_out:
            self._effects = self._found("rows", LeaveOneOut(), model, X, y, validation)[0]
        if network.n_subsets:
            rng = np.random.default_rng(SEED)
            halves = [rng.permutation(len(y)) < len(y) // 2 for _ in range(network.n_subsets)]
            self._halves = np.array(halves)
            leave = LeaveOneOut(groups=self._halves)
            self._values = self._found("halves", leave, model, X, y, validation)[1]

    def _found(self, name, method, model, X, y, validation):
        start = time.process_time()
        found = leave_one_out(model, X, y, validation, method=method)
        self._seconds[name] = time.process_time() - start
        return found.scores, found.group_effects[0]

    def trainings(self, seconds_training):
        """Price of the truth."""
        return {name: each / seconds_training for name, each in self._seconds.items()}

    def itself(self, seconds_training):
        """Leaving out as a method: how far its effects add up over halves of the rows."""
        if "rows" not in self._seconds:
            return {}
        seconds = self._seconds["rows"]
        price = {"seconds": seconds, "trainings": seconds / seconds_training}
        return {"loo": self.figures(self._effects, price)}

    def figures(self, scores, price):
        """Agreement, detection and price, in one dict."""
        found = {"auc": float(detection(scores, self._wrong)["auc"])}
        if "rows" in self._seconds:
            found |= agreement(scores, self._effects).loc[0, AGREEMENT].to_dict()
        if "halves" in self._seconds:
            lds = linear_datamodelling_score(scores, self._halves, self._values, random_state=SEED)
            found |= {"lds": lds.value, "lds_low": lds.low, "lds_high": lds.high}
        return found | price


def bound(name, n_epochs):
    """Least price of a sum over K states: 3 forward passes each, where an epoch of SAM is 6."""
    if name not in CHECKPOINTS:
        return {}
    return {"least_trainings": CHECKPOINTS[name] / (2 * n_epochs)}


def cpu_seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def return_memory():
    """Give freed memory back to the system, lest a method finds it lying about."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def main():
    """Run the networks that the JSON lacks, or find the price of some methods again."""
    parser = argparse.ArgumentParser(description="How right all methods are, and at what price.")
    parser.add_argument("names", nargs="*", help="networks; all by default")
    parser.add_argument("--price", nargs="+", metavar="METHOD", help="measure their price again")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    content = read("baselines", {"machine": machine(SEED), "networks": {}})
    for name in asked.names or NETWORKS:
        if asked.price:
            print(name, flush=True)
            price_again(NETWORKS[name], asked.price, content["networks"][name]["methods"])
        elif name not in content["networks"]:
            start = time.perf_counter()
            content["networks"][name] = one_network(NETWORKS[name])
            content["networks"][name]["minutes"] = (time.perf_counter() - start) / 60
        write("baselines", content)


if __name__ == "__main__":
    main()
