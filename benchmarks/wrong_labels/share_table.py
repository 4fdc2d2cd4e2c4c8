"""Tables of ``benchmarks/results/noise_share.json``, as reStructuredText.

Columns without a name are the detector's; "LR" and "network" (printed as "cleanlab LR" and
"cleanlab net") are cleanlab on the probabilities of a logistic regression and of the network of the
detector, both in 5 folds.
"""

import numpy as np
import pandas as pd

from benchmarks.report import read
from benchmarks.tables import simple_table
from benchmarks.wrong_labels.found import mean_reliability
from benchmarks.wrong_labels.mislabel_table import place, with_kinds
from benchmarks.wrong_labels.noisy_sets import (
    CHECKED,
    DEVELOPMENT,
    JUDGED_ONCE,
    N_CHECKED,
    PRETRAINED,
)

SETS = {
    "Development data sets": DEVELOPMENT,
    "Held-out data sets": JUDGED_ONCE,
    "Features of a pretrained network": PRETRAINED,
}
COLUMNS = {"detector": "", "cleanlab": ", LR", "cleanlab, network": ", network"}
# Largest mean error of the share that each kind of noise may have
GOALS = {"none": 0.015, "symmetric": 0.03, "pair": 0.04, "one-sided": 0.06}
_POOR = 0.7
SLACK = 0.005  # the grid on which an interval ends
TITLES = {"noise": "wrong labels", "data": "data set", "kind": "wrong labels"}
CLEANLAB = {", LR": ", cleanlab LR", ", network": ", cleanlab net"}


def cases_of(names):
    """Cases of some data sets, ``{key: figures}``."""
    cases = read("noise_share")["cases"]
    return {key: each for key, each in cases.items() if each and place(key)["data"] in names}


def settings(cases):
    """A line per case: what was wrong and what each method says."""
    lines = pd.DataFrame([place(key) | _line(case) for key, case in cases.items()])
    return lines.assign(checked=lines.noise.str.endswith(CHECKED))


def _line(case):
    rate, (low, high) = case["noise_rate"], case["interval"]
    line = {"true": rate, "covered": float(low - SLACK <= rate <= high + SLACK)}
    for method, column in COLUMNS.items():
        found = case.get(method, {"share": np.nan})
        line |= {f"share{column}": found["share"], f"error{column}": abs(found["share"] - rate)}
        line |= {f"{what}{column}": found.get(what) for what in ("flagged", "f1", "auc")}
        if method != "detector" and "f1" in found:
            line[f"not behind{column}"] = float(case["detector"]["f1"] >= found["f1"])
    return line | {"trainings": case.get("trainings"), "warned": case["warned"]}


def by(group, lines, *wanted):
    """Means of the wanted figures over the settings of each group, beside their number."""
    groups = lines.groupby(group, sort=False)
    columns = [name for each in wanted for name in lines if name.split(",")[0] == each]
    means = groups[columns].mean()
    means.insert(0, "settings", groups.size())
    return means.rename(columns=lambda name: name.replace("f1", "F1").replace("auc", "AUC"))


def goals(lines):
    """Error of the share by kind of noise, and the error that was the goal."""
    table = by("kind", lines, "error", "covered")
    table.insert(1, "goal", table.index.map(GOALS))
    return table


def kinds(lines):
    """Kind of noise of each setting, such as "symmetric" or "symmetric, 200 checked"."""
    kinds = lines.noise.str.split("[ :]", regex=True).str[0]
    return kinds.where(~lines.checked, kinds + f", {N_CHECKED} checked")


def before(lines):
    """Beside the detector as it was before it estimated the share by a likelihood."""
    old = read("noise_share_before", {"cases": {}})["cases"]
    lines = lines.assign(key=lines.data + ", " + lines.noise + ", seed " + lines.seed.astype(str))
    lines = lines[lines.key.isin(old)]
    figures = "share", "flagged", "f1", "auc"
    was = pd.DataFrame([old[key] for key in lines.key], index=lines.index, columns=figures)
    lines = lines.assign(**{"error, before": (was["share"] - lines.true).abs()})
    lines = lines.assign(**{f"{each}, before": was[each] for each in figures[1:]})
    columns = [
        f"{each}{when}" for each in ("error", "flagged", "f1", "auc") for when in ("", ", before")
    ]
    return by("noise", lines[["noise", *columns]], "error", "flagged", "f1", "auc")


def reliability(cases):
    """Mean probability and share of wrong labels, tenth by tenth: a table per group of noise."""
    groups = {}
    for key, case in cases.items():
        groups.setdefault(_group(place(key)["noise"]), []).append(case["reliability"])
    return {name: mean_reliability(found) for name, found in groups.items()}


def _group(noise):
    if not noise.startswith(("instance", "human")):
        return "random noise"
    return "ambiguous rows" + CHECKED * noise.endswith(CHECKED)


def doubts(lines):
    """Error of the share and AUC of the settings where a warning came, and where it did not."""
    found = {}
    for name in ("weak evidence", "unknown share"):
        came = lines.warned.map(lambda warned, name=name: name in warned)
        found |= {f"{name}, raised": lines[came], f"{name}, not raised": lines[~came]}
    return pd.DataFrame(
        {
            "settings": {name: len(some) for name, some in found.items()},
            "error": {name: some.error.mean() for name, some in found.items()},
            "AUC": {name: some.auc.mean() for name, some in found.items()},
            f"AUC below {_POOR}": {name: (some.auc < _POOR).sum() for name, some in found.items()},
        }
    ).rename_axis("warning")


def share_doubted(lines):
    """Share of the settings in which the share is called uncertain, a line per kind of noise."""
    kind = lines.noise.str.replace(r" \d+ %", "", regex=True)
    came = lines.warned.map(lambda warned: "unknown share" in warned)
    found = came.groupby(kind, sort=False).agg(["size", "mean"])
    return found.set_axis(["settings", "raised"], axis=1).rename_axis("wrong labels")


def costs(lines):
    """Median cost over the settings that were timed, a line per data set."""
    return lines.dropna(subset="trainings").groupby("data", sort=False)[["trainings"]].median()


def print_tables():
    """Print the tables of the development sets, and of those that were judged once."""
    for title, names in SETS.items():
        cases = cases_of(names)
        if cases:
            print(f"{title}\n{'^' * len(title)}\n")
            for name, table in tables(cases).items():
                if len(table):
                    print(f"**{name}**\n\n{simple_table(with_kinds(_titled(table)))}\n")


def _titled(table):
    """Without empty columns, empty where there is no figure, under titles that read well."""
    table = table.dropna(axis=1, how="all").rename_axis(index=TITLES)
    table = table.rename(columns={name: _head(name, table.columns) for name in table})
    return table.astype(object).where(table.notna(), "")


def _head(name, names):
    """The head of a column, which says whose figures stand under it."""
    for end, who in CLEANLAB.items():
        if name.endswith(end):
            return name.removesuffix(end).replace("not behind", "F1 not below") + who
    if name.endswith(", before"):
        return name.replace("before", "earlier")
    is_compared = any(f"{name}, {other}" in names for other in ("LR", "before"))
    return f"{name}, detector" if is_compared else name


def tables(cases):
    lines = settings(cases).assign(kind=kinds)
    wrong = lines[lines.noise != "none"]
    return {
        "Estimated share of wrong labels, by kind of noise": goals(lines),
        "Flagged rows, by kind of noise": by("kind", wrong, "f1", "not behind"),
        "Estimated share of wrong labels, by noise": by(
            "noise", lines, "error", "flagged", "covered"
        ),
        "Flagged rows, by noise": by("noise", wrong, "f1", "auc", "not behind"),
        "Data set by data set": by("data", lines, "error", "covered", "f1"),
        "Beside the earlier detector": before(lines),
        "Warnings": doubts(lines),
        "Unknown share, by noise": share_doubted(lines),
        **{f"Reliability, {name}": each for name, each in reliability(cases).items()},
        "Cost in trainings, beyond the training": costs(lines),
    }
