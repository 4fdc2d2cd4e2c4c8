"""Tables of ``benchmarks/results/mislabel.json``; those of the documentation come first.

python -m benchmarks.wrong_labels.mislabel_table
"""

import pandas as pd

from benchmarks.report import read
from benchmarks.tables import short, simple_table
from benchmarks.wrong_labels.rankings import DETECTOR, INFLUENCES, SHARED

VALIDATIONS = ("clean", "as noisy")
SHOWN = {"clean": "clean", "as noisy": "noisy"}
CLOSE = 0.005
METHODS = (DETECTOR, *SHARED, *INFLUENCES)
SHOWN_SHARED = {"cleanlab": "cleanlab, self_confidence", "mean loss": "mean loss"}
WHERE = ["data", "noise", "validation"]
REFITS = {
    "all rows": "all rows", "oracle": "wrong rows out",
    "cleanlab, self_confidence": "cleanlab", "mean loss": "mean loss", "random": "random",
}  # fmt: skip


NOISES = {"people, random": "one person's labels", "people, worst": "worst of three people's"}


def kind(data, noise):
    """How a kind of wrong labels is called in table and picture."""
    return f"{data}: {NOISES.get(noise, noise)}"


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
    """The best of the others in each line of `auc`, and how far the detector is behind it."""
    others = auc.drop(columns=DETECTOR)
    behind = others.max(axis=1) - auc[DETECTOR]
    place = behind.map(lambda b: "first" if b <= 0 else "close" if b <= CLOSE else "behind")
    best = {"best other": others.idxmax(axis=1), "its AUC": others.max(axis=1)}
    return pd.DataFrame(best | {"behind": behind, "detector is": place})


def summary(table):
    """A line per method: AUC over all kinds of noise, and how often it is near the best."""
    auc = means(table, "auc")
    close = auc.ge(auc.max(axis=1) - CLOSE, axis=0)
    by = {"level": "validation", "sort": False}
    return pd.DataFrame(
        both("mean AUC", auc.groupby(**by).mean().T)
        | both("lowest AUC", auc.groupby(**by).min().T)
        | both(f"first or close, of {len(auc) // 2}", close.groupby(**by).sum().T)
    )


def cost(table):
    """A line per method: its cost in trainings, on the MLPs and on the CNN."""
    found = costs(table)
    on_cnn = found.index.str.startswith("CIFAR")
    return pd.DataFrame(
        {
            "MLPs": found[~on_cnn].median().map(two_digits),
            "CNN": found[on_cnn].median().map(two_digits),
        }
    )


def by_validation(series):
    """Columns for clean and for noisy validation labels; rows in the given order."""
    return pd.DataFrame({v: series.xs(v, level="validation") for v in VALIDATIONS})


def both(title, table):
    """A column for clean and a column for noisy validation labels, by title."""
    return {f"{title}, {SHOWN[validation]}": table[validation] for validation in VALIDATIONS}


def costs(table):
    """Median cost in trainings, a line per data set."""
    wide = table.pivot_table(
        index="data", columns="method", values="trainings", aggfunc="median", sort=False
    )
    return wide[[name for name in METHODS if name in wide]]


def side_by_side(auc):
    """AUC of the detector and of two rankings that need no validation rows."""
    columns = both("detector", by_validation(auc[DETECTOR]))
    for title, name in SHOWN_SHARED.items():
        columns[title] = auc[name].xs("clean", level="validation")
    return pd.DataFrame(columns)


def best_others(auc):
    """The best of the other rankings in each line, its AUC, and where the detector stands."""
    stand = {name: by_validation(series) for name, series in standing(auc).items()}
    columns = {}
    for v in VALIDATIONS:
        columns |= {
            f"{name}, {SHOWN[v]}": stand[name][v]
            for name in ("best other", "its AUC", "detector is")
        }
    return pd.DataFrame(columns)


def accuracies(cases):
    """Mean accuracy over seeds, a line per data set and noise."""
    rows = pd.DataFrame(place(key) | case["accuracy"] for key, case in cases.items())
    table = rows.groupby(["data", "noise"], sort=False).mean()
    found = table[list(REFITS)].rename(columns=REFITS)
    detector = {v: table[f"{DETECTOR}, {v}"] for v in VALIDATIONS}
    for at, (title, column) in enumerate(both("detector", detector).items(), start=2):
        found.insert(at, title, column)
    return found


def searched(searches):
    """Shares chosen by cross-validation and test accuracies, seed by seed, a line per noise."""
    table = pd.DataFrame(
        place(key)
        | {f"{name}: share": f"{f['removal_fraction']:g}" for name, f in search.items()}
        | {f"{name}: accuracy": short(f["accuracy"]) for name, f in search.items()}
        for key, search in searches.items()
    )
    if table.empty:
        return table
    table = table.drop(columns="seed")
    return table.groupby(["data", "noise"], sort=False).agg(", ".join)


def whole(found):
    """AUC and cost of influences of all parameters, clean validation labels, a line per case."""
    return pd.DataFrame(
        place(key) | {f"{name}, {what}": f[what] for name, f in case.items() for what in _WHOLE}
        for key, case in found.items()
    )


_WHOLE = ("auc", "trainings")


def two_digits(number):
    return f"{number:.2g}"


def with_kinds(frame):
    """The frame with one column for data set and noise, as both are called in the documentation."""
    frame = frame.reset_index()
    if "noise" not in frame:
        return frame.set_index(frame.columns[0])
    kinds = [kind(*each) for each in zip(frame.data, frame.noise, strict=True)]
    frame.insert(0, "wrong labels", kinds)
    return frame.drop(columns=["data", "noise"]).set_index("wrong labels")


def main():
    content = read("mislabel")
    cases = content["cases"]
    table = figures(cases)
    auc = means(table, "auc")
    parts = {
        "Summary": summary(table),
        "Cost in trainings, medians": cost(table),
        "AUC": side_by_side(auc),
        "AUC, beside the best other ranking": best_others(auc),
        "Accuracy after dropping as many rows as are wrong": accuracies(cases),
        "Share chosen by cross-validation": searched(content.get("searches", {})),
        "Influence of all parameters": whole(content.get("all parameters", {})),
        "AUC, all rankings": auc.join(standing(auc)["behind"]),
        "Average precision": means(table, "average_precision"),
        "Recall in the lowest 40 %": means(table, "recall at 40%"),
        "Cost in trainings, by data set": costs(table),
    }
    for name, part in parts.items():
        print(f"{name}\n{simple_table(with_kinds(part))}\n")


if __name__ == "__main__":
    main()
