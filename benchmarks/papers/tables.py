"""Tables of what this folder measured, as they stand in ``docs/evidence/papers.rst``.

python -m benchmarks.papers.tables
"""

import argparse

import numpy as np
import pandas as pd

from benchmarks.report import read
from benchmarks.tables import simple_table

PLACE = ["images", "network"]
NOTHING = "\\-"  # refused, or not measured
MODELS = {"detector": "detector", "cleanlab": "LR", "cleanlab, network": "network"}
LABELS = ("CIFAR-10N features", "SST-2 sentences", "SST-2")
FIRST, LAST = 0, -1  # amounts of further training
BY_SEEDS = ("Grad-Dot", "CG")


def place(key):
    """Image set, network and seed, from a key of the JSON."""
    images, network, seed = key.rsplit(", ", 2)
    return {"images": images, "network": network, "seed": int(seed)}


def wide(lines, index, columns, figure, mean="mean"):
    """Means of a figure, lines and columns in the order in which they come."""
    return lines.pivot_table(index=index, columns=columns, values=figure, aggfunc=mean, sort=False)


def lines_of_edits(cases):
    """A line per network, method and share removed; the network without an edit first."""
    lines = []
    for key, case in cases.items():
        again = case["methods"]["retrain"]
        once = np.mean([edit["seconds"] for edit in again.values()])
        no_edit = {
            removed: {"removed_loss": edit["removed_loss_before"], "seconds": 0}
            | {"accuracy": case["accuracy"]}
            for removed, edit in again.items()
        }
        for method, edits in {"no edit": no_edit, **case["methods"]}.items():
            lines += [
                {"where": key.rsplit(", ", 1)[0], "method": method, "removed": removed, **edit}
                | {"cost": edit["seconds"] / once, "fit": edits.get("seconds_fit", 0) / once}
                | {"off": edit["accuracy"] - again[removed]["accuracy"]}
                for removed, edit in edits.items()
                if isinstance(edit, dict)
            ]
    return pd.DataFrame(lines)


def accuracies(lines):
    """Accuracy after the largest removal, a line per method, a column per network."""
    return wide(lines[lines["removed"] == lines["removed"].iloc[-1]], "method", "where", "accuracy")


def on_all(lines):
    """Those of the methods that every network has, so that means over networks can be compared."""
    networks = lines.groupby("method")["where"].nunique()
    return lines[lines["method"].map(networks) == networks.max()]


def differences(lines):
    """Edits beside training again: accuracy, cosine and length of the change, costs."""
    lines = lines.assign(size=lines["off"].abs())
    groups = lines.groupby("method", sort=False)
    return pd.DataFrame(
        {
            "networks": groups["where"].nunique(),
            "mean difference": groups["off"].mean(),
            "mean absolute": groups["size"].mean(),
            "largest": groups["size"].max(),
            "cosine": groups["cosine"].mean(),
            "length": groups["length"].median(),
            "cost of fit": groups["fit"].median(),
            "cost of an edit": groups["cost"].median(),
        }
    )


def theorems(cases):
    """Agreement with leave-one-out on convex problems, a line per length of training and method."""
    return pd.DataFrame(
        {"steps": steps, "method": method, "Pearson, mean": np.mean(found["pearson"])}
        | {"lowest": min(found["pearson"]), "slope, median": np.median(found["slope"])}
        | {"slope, lowest": min(found["slope"]), "slope, highest": max(found["slope"])}
        for steps, case in cases.items()
        for method, found in case["methods"].items()
    ).set_index("steps")


def lines_of_groups(cases):
    """A line per network, seed and method."""
    return pd.DataFrame(
        place(key) | {"method": name} | found
        for key, case in cases.items()
        for name, found in case["methods"].items()
    )


def verdicts(cases):
    """Status of each check of ``diagnose``, a line per network and seed."""
    return pd.DataFrame(
        place(key) | case["methods"]["unrolled"]["verdict"] for key, case in cases.items()
    ).set_index([*PLACE, "seed"])


def found_wrong(cases):
    """Share of the wrong labels among the lowest 40 % of the scores."""
    return pd.DataFrame(
        place(key)
        | {name: each["found"]["40 %"] for name, each in case["methods"].items() if "found" in each}
        for key, case in cases.items()
    ).drop(columns="seed").set_index(PLACE)  # fmt: skip


def after_removal(cases, side):
    """Accuracy after the most harmful or helpful rows are removed, beside random ones."""
    return pd.DataFrame(
        place(key)
        | {"removed": share, "none removed": case["accuracy"]}
        | {"random": np.mean([draw[share] for draw in case["random"]])}
        | {name: each[side][share] for name, each in case["methods"].items() if side in each}
        for key, case in cases.items()
        for share in case["random"][0]
    ).drop(columns="seed").set_index([*PLACE, "removed"])  # fmt: skip


def lines_of_checkpoints(cases):
    """A line per setting and number of checkpoints, with the network without an edit."""
    lines = []
    for key, case in cases.items():
        again = case["edits"]["retrain"]["removed"]
        no_edit = {"removed": {"accuracy": case["accuracy"], "seconds": 0}}
        lines += [
            {"setting": key.split(", ", 1)[1], "checkpoints": number, **edit["removed"]}
            | {"fit": edit.get("seconds_fit", 0) / again["seconds"]}
            | {"edit": edit["removed"]["seconds"] / again["seconds"]}
            for number, edit in {"no edit": no_edit, **case["edits"]}.items()
        ]
    return pd.DataFrame(lines)


def traced(cases):
    """Share of wrong labels among the rows that harm and help the images most."""
    return pd.DataFrame(
        {"images": name, "side": side, "distinct rows": found["rows"], "wrong": found["wrong"]}
        for name, case in cases.items()
        for side, found in case["sides"].items()
    ).set_index("images")


def traced_losses(cases):
    """Loss of each image before, and after training again without ten rows."""
    return pd.DataFrame(
        {"images": name, "image": number, "all rows": query["before"]}
        | {"without harmful": query["harmful"], "without helpful": query["helpful"]}
        | {"without random": np.mean(query["random"]), "lowest": min(query["random"])}
        | {"highest": max(query["random"])}
        for name, case in cases.items()
        for number, query in enumerate(case["queries"], 1)
    ).set_index("images")


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


def highest(cases, adjustment):
    """The highest of these cosines over the amounts."""
    tables = [
        cosines({name: case}, adjustment, at).drop(columns="epochs")
        for name, case in cases.items()
        for at in range(len(case["amounts"]))
    ]
    return pd.concat(tables).groupby(level=0, sort=False).max()


def by_seeds(cases):
    """The cosine by the number of seeds of further training (figure 3)."""
    lines = []
    for name, case in cases.items():
        over = case["adjustments"]["full-data"]["over_seeds"]
        epochs = max(filter(lambda amount: int(amount) <= 10, over), key=int)
        lines += [
            {"data": name, "epochs": int(epochs), "method": method, "seeds": f"n = {number:g}"}
            | {"cosine": cosine}
            for method in BY_SEEDS
            for number, cosine in zip(
                over[epochs][method]["amount"], over[epochs][method]["mean"], strict=True
            )
        ]
    return wide(pd.DataFrame(lines), ["data", "epochs", "method"], "seeds", "cosine")


def wrong_labels(data):
    """AUC and F1 of the detector and of cleanlab on one data set, means over the seeds."""
    cases = {key: case for key, case in read("noise_share")["cases"].items()
             if key.startswith(f"{data}, ") and "f1" in case["detector"]}  # fmt: skip
    return pd.DataFrame(
        {"labels": key.rsplit(", ", 1)[0].removeprefix(f"{data}, "), "wrong": case["noise_rate"]}
        | {f"{figure}, {shown}": case[model][figure.lower()]
           for figure in ("AUC", "F1") for model, shown in MODELS.items()}
        for key, case in cases.items()
    ).groupby("labels", sort=False).mean()  # fmt: skip


def cases_of(name):
    return read(f"papers_{name}")["cases"]


def parts():
    """All tables, in the order of the page."""
    edits, groups = lines_of_edits(cases_of("edits")), cases_of("groups_left_out")
    curves, numbers = cases_of("removal_curves"), lines_of_checkpoints(cases_of("checkpoints"))
    tracing, further = cases_of("error_tracing"), cases_of("further_training")
    where = [*PLACE, "seed"]
    return {
        "Accuracy after the largest removal": accuracies(edits),
        "Differences from training again": differences(edits),
        "Difference by share removed": wide(on_all(edits), "method", "removed", "off"),
        "Loss of the removed rows": wide(
            on_all(edits), "method", "removed", "removed_loss", "median"
        ),
        "Wrong labels among the lowest 40 %": found_wrong(curves),
        "Accuracy without harmful rows": after_removal(curves, "harmful"),
        "Accuracy without helpful rows": after_removal(curves, "helpful"),
        "GIF by checkpoints: accuracy": wide(numbers, "checkpoints", "setting", "accuracy"),
        "GIF by checkpoints: cosine": wide(numbers, "checkpoints", "setting", "cosine"),
        "GIF by checkpoints: cost": numbers.groupby("checkpoints", sort=False)[["fit", "edit"]]
        .mean()
        .drop(["no edit", "retrain"]),
        "Traced rows": traced(tracing),
        "Traced images": traced_losses(tracing),
        "Theorems: agreement with leave-one-out": theorems(cases_of("theorems")),
        "Groups left out: rank correlation": wide(
            lines_of_groups(groups), where, "method", "spearman"
        ),
        "Groups left out: checks of diagnose": verdicts(groups),
        "Further training: first amount": cosines(further, "full-data", FIRST),
        "Further training: last amount": cosines(further, "full-data", LAST),
        "Further training: highest": highest(further, "full-data"),
        "Further training: last amount, minus the mean over the rows": cosines(
            further, "mean", LAST
        ),
        "Further training: by seeds": by_seeds(further),
    } | {f"Wrong labels: {data}": wrong_labels(data) for data in LABELS}


def shown(table):
    """The table in reStructuredText: three digits after the point, two significant ones."""
    cells = table.reset_index().map(_digits)
    return simple_table(cells.set_index(cells.columns[0]))


def _digits(cell):
    if not isinstance(cell, float):
        return str(cell)
    if np.isnan(cell):
        return NOTHING
    if abs(cell) >= 1000:
        return f"{cell:.0f}"
    return f"{cell:.3f}" if abs(cell) >= 0.01 or cell == 0 else f"{cell:.2g}"


def main():
    """Print the tables."""
    argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0]).parse_args()
    for name, part in parts().items():
        print(f"**{name}**\n\n{shown(part)}\n")


if __name__ == "__main__":
    main()
