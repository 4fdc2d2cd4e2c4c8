"""Tables of ``benchmarks/results/mislabel.json``; those of the documentation come first.

python -m benchmarks.wrong_labels.table
"""

import pandas as pd

from benchmarks.report import read
from benchmarks.wrong_labels.rankings import DETECTOR, INFLUENCES, SHARED

VALIDATIONS = ("clean", "as noisy")
CLOSE = 0.005
METHODS = (DETECTOR, *SHARED, *INFLUENCES)
WHERE = ["data", "noise", "validation"]
REFITS = {
    "all rows": "all rows", "oracle": "wrong rows out",
    f"{DETECTOR}, clean": "detector, clean", f"{DETECTOR}, as noisy": "detector, as noisy",
    "cleanlab, self_confidence": "cleanlab", "mean loss": "mean loss", "random": "random",
}  # fmt: skip


def place(key):
    """Data set, noise and seed, from a key of the JSON."""
    rest, seed = key.rsplit(", seed ", 1)
    data, noise = rest.split(", ", 1)
    return {"data": data, "noise": noise, "seed": int(seed)}


def figures(cases):
    """A line per case, validation labels and method; what asks no validation is under both."""
    return pd.DataFrame(
        place(key) | {"validation": validation, "method": name} | found
        for key, case in cases.items()
        for validation in VALIDATIONS
        for name, found in (case["shared"] | case[validation]["methods"]).items()
    )


def means(table, figure):
    """Mean over seeds: a line per data, noise and validation labels, a column per method."""
    wide = table.pivot_table(index=WHERE, columns="method", values=figure, sort=False)
    return wide[[name for name in METHODS if name in wide]]


def standing(auc):
    """How far the detector is behind the best of the others in each line of `auc`."""
    others = auc.drop(columns=DETECTOR)
    behind = others.max(axis=1) - auc[DETECTOR]
    verdict = behind.map(lambda b: "first" if b <= 0 else "close" if b <= CLOSE else "behind")
    return pd.DataFrame({"best other": others.idxmax(axis=1), "behind": behind, "is": verdict})


def summary(table):
    """Over all lines: AUC, how often a method is within .005 of the best, and its price."""
    auc = means(table, "auc")
    close = auc.ge(auc.max(axis=1) - CLOSE, axis=0)
    columns = {}
    for validation in VALIDATIONS:
        chosen = auc.xs(validation, level="validation")
        columns[f"mean, {validation}"] = chosen.mean()
        columns[f"lowest, {validation}"] = chosen.min()
        columns[f"best, {validation}"] = close.xs(validation, level="validation").sum()
    return pd.DataFrame(columns).join(prices(table).T)


def prices(table):
    """Median price in trainings, a line per data set."""
    wide = table.pivot_table(
        index="data", columns="method", values="trainings", aggfunc="median", sort=False
    )
    return wide[[name for name in METHODS if name in wide]]


def shares(cases):
    """Share of wrong labels, what the detector estimates, and what it made of the labels."""
    return pd.DataFrame(
        place(key)
        | {"validation": validation, "true": case["wrong_share"]}
        | {"estimated": case[validation]["contamination"]}
        | {"recall": case[validation]["recall_suspicious"]}
        | {"labels": case[validation]["diagnostics"]["labels"]}
        | {"held out": case[validation]["diagnostics"]["validation"]}
        for key, case in cases.items()
        for validation in VALIDATIONS
    )


def accuracies(cases):
    """Mean accuracy over seeds, a line per data set and noise."""
    rows = pd.DataFrame(place(key) | case["accuracy"] for key, case in cases.items())
    table = rows.groupby(["data", "noise"], sort=False).mean()
    return table.rename(columns=REFITS)[list(REFITS.values())]


def searched(searches):
    """Share chosen by cross-validation and test accuracy, a line per search."""
    return pd.DataFrame(
        place(key)
        | {f"{name}, {what}": found[what] for name, found in search.items() for what in _CHOSEN}
        for key, search in searches.items()
    )


_CHOSEN = ("removal_fraction", "accuracy", "seconds")


def main():
    content = read("mislabel")
    table = figures(content["cases"])
    auc = means(table, "auc")
    parts = {
        "Summary": summary(table),
        "AUC": auc.join(standing(auc)),
        "Share of wrong labels": shares(content["cases"]),
        "Accuracy after dropping as many rows as are wrong": accuracies(content["cases"]),
        "Share chosen by cross-validation": searched(content.get("searches", {})),
        "Average precision": means(table, "average_precision"),
        "Recall in the lowest 40 %": means(table, "recall at 40%"),
        "Price in trainings": prices(table),
    }
    for name, part in parts.items():
        print(f"{name}\n{part.to_string(float_format='{:.3f}'.format)}\n")


if __name__ == "__main__":
    main()
