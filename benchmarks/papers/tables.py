"""Tables of what this folder measured, as they stand in ``docs/evidence/papers.rst``.

python -m benchmarks.papers.tables
"""

import numpy as np
import pandas as pd

from benchmarks.papers.curves import FRACTIONS
from benchmarks.papers.edits import PERCENT
from benchmarks.report import read
from benchmarks.wrong_labels.mislabel_table import simple_table

PLACE = ["images", "network"]
LARGEST = f"{PERCENT[-1]} %"
REFUSED = "-"
MODELS = {"detector": "detector", "cleanlab": "LR", "cleanlab, network": "network"}


def place(key):
    """Image set, network and seed, from a key of the JSON."""
    images, network, seed = key.rsplit(", ", 2)
    return {"images": images, "network": network, "seed": int(seed)}


def lines_of_edits(cases):
    """A line per network, seed, method and share removed."""
    return pd.DataFrame(
        place(key)
        | {"method": method, "removed": group, "cost": edit["seconds"] / retrain_seconds(case)}
        | {"no edit": case["accuracy"], "fit": edits.get("seconds_fit", 0) / retrain_seconds(case)}
        | edit
        for key, case in cases.items()
        for method, edits in case["methods"].items()
        for group, edit in edits.items()
        if isinstance(edit, dict)
    )


def retrain_seconds(case):
    return np.mean([edit["seconds"] for edit in case["methods"]["retrain"].values()])


def accuracies(lines, removed):
    """Accuracy after the edit, a line per network, a column per method; mean over seeds."""
    chosen = lines[lines["removed"] == removed]
    return _wide(chosen, "accuracy", PLACE)


def with_no_edit(lines):
    """The same with lines of the network as it was, before all others."""
    idle = lines.assign(
        method="no edit", accuracy=lines["no edit"], cost=0.0, fit=0.0, cosine=np.nan,
        removed_loss=lines.get("removed_loss_before", np.nan),
    )  # fmt: skip
    return pd.concat([idle.drop_duplicates([*PLACE, "seed", "removed"]), lines])


def distances(lines):
    """Largest and mean difference of the accuracy from training again, a line per method."""
    where = [*PLACE, "seed", "removed"]
    again = lines[lines["method"] == "retrain"].set_index(where)["accuracy"]
    keys = pd.MultiIndex.from_frame(lines[where])
    off = lines.assign(off=lines["accuracy"].to_numpy() - again.loc[keys].to_numpy())
    groups = off.groupby("method", sort=False)
    return pd.DataFrame(
        {
            "mean difference": groups["off"].mean(),
            "mean absolute difference": groups["off"].agg(lambda d: d.abs().mean()),
            "largest difference": groups["off"].agg(lambda d: d.abs().max()),
            "cosine of the changes": groups["cosine"].mean(),
            "cost of fit": groups["fit"].median(),
            "cost of an edit": groups["cost"].median(),
        }
    )


def shares(lines, figure):
    """Mean over all networks, a line per method, a column per share removed."""
    return lines.pivot_table(index="method", columns="removed", values=figure, sort=False)


def lines_of_truth(cases):
    """A line per network, seed and method."""
    return pd.DataFrame(
        place(key) | {"method": name, "accuracy": case["accuracy"]} | found
        for key, case in cases.items()
        for name, found in case["methods"].items()
    )


def verdicts(cases):
    """Checks that are not fine, a line per network and seed."""
    return pd.DataFrame(
        place(key) | {"worst": max(statuses.values(), key=("fine", "doubtful", "bad").index)}
        | {"not fine": "; ".join(check for check, status in statuses.items() if status != "fine")}
        for key, case in cases.items()
        for statuses in [case["methods"]["unrolled"].get("verdict", {"refused": "bad"})]
    ).set_index([*PLACE, "seed"])  # fmt: skip


def spread(lines, figure):
    """Mean over the seeds, and a line of standard deviations where there are several."""
    groups = lines.dropna(subset=figure).groupby([*PLACE, "method"], sort=False)[figure]
    table = groups.agg(["mean", "std", "size"]).reset_index()
    table["shown"] = [
        f"{mean:.2f} ± {std:.2f}" if size > 1 else f"{mean:.2f}"
        for mean, std, size in zip(table["mean"], table["std"], table["size"], strict=True)
    ]
    return _pivoted(table, "shown", PLACE)


def found_wrong(cases):
    """Share of the wrong labels among the lowest 40 % of the scores."""
    return pd.DataFrame(
        place(key) | {name: found["found"]["40 %"] for name, found in case["methods"].items()
                      if "found" in found}
        for key, case in cases.items()
    ).drop(columns="seed").groupby(PLACE, sort=False).mean()  # fmt: skip


def after_removal(cases, side):
    """Accuracy after the most harmful or helpful rows are removed, beside random ones."""
    return pd.DataFrame(
        place(key) | {"removed": f"{share:.0%}", "none removed": case["accuracy"]}
        | {"random": np.mean(case["random"], axis=0)[k]}
        | {name: found[side][k] for name, found in case["methods"].items() if side in found}
        for key, case in cases.items()
        for k, share in enumerate(FRACTIONS)
    ).drop(columns="seed").set_index([*PLACE, "removed"])  # fmt: skip


def by_number(cases):
    """Accuracy of GIF's edits, a line per number of checkpoints, a column per setting."""
    columns = {}
    for key, case in cases.items():
        name = key.split(", ", 1)[1]
        edits = {number: edit["removed"] for number, edit in case["edits"].items()}
        columns[name] = {"no edit": case["accuracy"]} | {
            number: edit["accuracy"] for number, edit in edits.items()
        }
        columns[f"{name}: cosine"] = {number: edit["cosine"] for number, edit in edits.items()}
    return pd.DataFrame(columns)


def costs(cases):
    """Fit and edit in trainings, mean over the settings, a line per number of checkpoints."""
    return pd.DataFrame(
        {"number": number, "fit": edit.get("seconds_fit", 0) / once, "edit": seconds / once}
        for case in cases.values()
        for once in [case["edits"]["retrain"]["removed"]["seconds"]]
        for number, edit in case["edits"].items()
        for seconds in [edit["removed"]["seconds"]]
    ).groupby("number", sort=False).mean()  # fmt: skip


def cosines(cases, adjustment, at):
    """Cosine with further training, a line per data set, a column per method."""
    return pd.DataFrame(
        {"data": name, "epochs": case["amounts"][at]}
        | {
            method: curve["mean"][at]
            for method, curve in case["adjustments"][adjustment]["curves"].items()
        }
        for name, case in cases.items()
    ).set_index("data")


def noise_of(data):
    """AUC and F1 of the detector and of cleanlab on one data set, means over the seeds."""
    cases = {key: case for key, case in read("noise_share")["cases"].items()
             if key.startswith(f"{data}, ") and "f1" in case["detector"]}  # fmt: skip
    return pd.DataFrame(
        {"labels": key.rsplit(", ", 1)[0].removeprefix(f"{data}, "), "wrong": case["noise_rate"]}
        | {f"{figure}, {shown}": case[model][figure.lower()]
           for figure in ("AUC", "F1") for model, shown in MODELS.items()}
        for key, case in cases.items()
    ).groupby("labels", sort=False).mean()  # fmt: skip


def digits(cell):
    """A number as it stands in the table: three digits after the point, two significant ones."""
    if not isinstance(cell, float):
        return str(cell)
    if np.isnan(cell):
        return REFUSED
    return f"{cell:.3f}" if abs(cell) >= 0.01 or cell == 0 else f"{cell:.2g}"


def _wide(lines, figure, index):
    table = lines.groupby([*index, "method"], sort=False)[figure].mean().reset_index()
    return _pivoted(table, figure, index)


def _pivoted(table, figure, index):
    order = table["method"].unique()
    wide = table.set_index([*index, "method"])[figure].unstack()
    rows = table.drop_duplicates(index).set_index(index).index
    return wide.loc[rows, order].fillna(REFUSED)


def parts():
    """All tables whose files are there."""
    found = {}
    if edits := read("papers_edits", {}).get("cases"):
        lines = with_no_edit(lines_of_edits(edits))
        found[f"Accuracy after {LARGEST} are removed"] = accuracies(lines, LARGEST)
        found["Differences from training again"] = distances(lines)
        found["Accuracy by share removed, mean over the networks"] = shares(lines, "accuracy")
        found["Loss of the removed rows, mean over the networks"] = shares(lines, "removed_loss")
    if truth := read("papers_truth", {}).get("cases"):
        lines = lines_of_truth(truth)
        found["Spearman with groups left out"] = spread(lines, "spearman")
        found["Right signs"] = spread(lines, "right_signs")
        found["Verdicts of diagnose"] = verdicts(truth)
    if curves := read("papers_curves", {}).get("cases"):
        found["Wrong labels among the lowest 40 %"] = found_wrong(curves)
        for side in ("harmful", "helpful"):
            found[f"Accuracy without {side} rows"] = after_removal(curves, side)
    if checkpoints := read("papers_checkpoints", {}).get("cases"):
        found["GIF by checkpoints"] = by_number(checkpoints)
        found["GIF by checkpoints, cost in trainings"] = costs(checkpoints)
    if further := read("papers_further", {}).get("cases"):
        for adjustment in ("full-data", "mean"):
            found[f"Further training, first amount, {adjustment}"] = cosines(further, adjustment, 0)
            found[f"Further training, last amount, {adjustment}"] = cosines(further, adjustment, -1)
    for data in ("SST-2 sentences", "SST-2", "CIFAR-10N features"):
        found[f"Wrong labels, {data}"] = noise_of(data)
    return found


def main():
    for name, part in parts().items():
        print(f"**{name}**\n\n{simple_table(part.map(digits))}\n")


if __name__ == "__main__":
    main()
