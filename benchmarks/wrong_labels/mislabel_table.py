"""Tables of ``benchmarks/results/mislabel.json``; those of the documentation come first.

python -m benchmarks.wrong_labels.mislabel_table
"""

import pandas as pd

from benchmarks.report import read
from benchmarks.wrong_labels.rankings import DETECTOR, INFLUENCES, SHARED

VALIDATIONS = ("clean", "as noisy")
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
    """How far the detector is behind the best of the others in each line of `auc`."""
    others = auc.drop(columns=DETECTOR)
    behind = others.max(axis=1) - auc[DETECTOR]
    verdict = behind.map(lambda b: "first" if b <= 0 else "close" if b <= CLOSE else "behind")
    return pd.DataFrame({"best other": others.idxmax(axis=1), "behind": behind, "is": verdict})


def summary(table):
    """A line per method: AUC over all kinds, how often within .005 of the best, and the price."""
    auc = means(table, "auc")
    close = auc.ge(auc.max(axis=1) - CLOSE, axis=0)
    by = {"level": "validation", "sort": False}
    price = prices(table)
    on_cnn = price.index.str.startswith("CIFAR")
    return pd.DataFrame(
        {
            "mean AUC": both(auc.groupby(**by).mean().T),
            "lowest AUC": both(auc.groupby(**by).min().T),
            f"close, of {len(auc) // 2}": both(close.groupby(**by).sum().T),
            "price, MLPs": price[~on_cnn].median().map(two_digits),
            "price, CNN": price[on_cnn].median().map(two_digits),
        }
    )


def by_validation(series):
    """Columns for clean and for noisy validation labels; rows in the given order."""
    return pd.DataFrame({v: series.xs(v, level="validation") for v in VALIDATIONS})


def both(table):
    """Figures with clean and with noisy validation labels in one column; one where they agree."""
    clean, noisy = (table[validation].map(short) for validation in VALIDATIONS)
    return clean.where(clean == noisy, clean + ", " + noisy)


def prices(table):
    """Median price in trainings, a line per data set."""
    wide = table.pivot_table(
        index="data", columns="method", values="trainings", aggfunc="median", sort=False
    )
    return wide[[name for name in METHODS if name in wide]]


def side_by_side(auc):
    """AUC of the detector, of two that ask no validation, of the best other; and the standing."""
    stand = {name: by_validation(series) for name, series in standing(auc).items()}
    best = by_validation(auc.drop(columns=DETECTOR).max(axis=1))
    columns = {"detector": both(by_validation(auc[DETECTOR]))}
    for title, name in SHOWN_SHARED.items():
        columns[title] = auc[name].xs("clean", level="validation")
    for v in VALIDATIONS:
        columns[f"best other, {v}"] = stand["best other"][v] + " " + best[v].map(short)
    columns["detector is"] = both(stand["is"])
    return pd.DataFrame(columns)


def accuracies(cases):
    """Mean accuracy over seeds, a line per data set and noise."""
    rows = pd.DataFrame(place(key) | case["accuracy"] for key, case in cases.items())
    table = rows.groupby(["data", "noise"], sort=False).mean()
    detector = both(pd.DataFrame({v: table[f"{DETECTOR}, {v}"] for v in VALIDATIONS}))
    found = table[list(REFITS)].rename(columns=REFITS)
    found.insert(2, "detector", detector)
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
    """AUC and price of influences of all parameters, clean validation labels, a line per case."""
    return pd.DataFrame(
        place(key) | {f"{name}, {what}": f[what] for name, f in case.items() for what in _WHOLE}
        for key, case in found.items()
    )


_WHOLE = ("auc", "trainings")


def short(number):
    """Three digits, without the zero before the point."""
    return f"{number:.3f}".lstrip("0") if isinstance(number, float) else str(number)


def two_digits(number):
    return f"{number:.2g}".removeprefix("0") or "0"


def simple_table(frame):
    """The frame as a simple table of reStructuredText."""
    frame = frame.reset_index()
    if "noise" in frame:
        frame.insert(
            0, "wrong labels", [kind(*each) for each in zip(frame.data, frame.noise, strict=True)]
        )
        frame = frame.drop(columns=["data", "noise"])
    lines = [[str(name) for name in frame.columns]]
    lines += [[short(cell) for cell in row] for row in frame.itertuples(index=False)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    rows = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([rule, rows[0], rule, *rows[1:], rule])


def main():
    content = read("mislabel")
    cases = content["cases"]
    table = figures(cases)
    auc = means(table, "auc")
    parts = {
        "Summary": summary(table),
        "AUC": side_by_side(auc),
        "Accuracy after dropping as many rows as are wrong": accuracies(cases),
        "Share chosen by cross-validation": searched(content.get("searches", {})),
        "Influence of all parameters": whole(content.get("all parameters", {})),
        "AUC, all rankings": auc.join(standing(auc)["behind"]),
        "Average precision": means(table, "average_precision"),
        "Recall in the lowest 40 %": means(table, "recall at 40%"),
        "Price in trainings": prices(table),
    }
    for name, part in parts.items():
        print(f"{name}\n{simple_table(part)}\n")


if __name__ == "__main__":
    main()
