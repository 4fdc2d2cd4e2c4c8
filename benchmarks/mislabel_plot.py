"""Draw ``benchmarks/results/mislabel.json``.

python -m benchmarks.mislabel_plot
"""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.report import read
from benchmarks.wrong_labels.mislabel_table import VALIDATIONS, WHERE, costs, figures, kind, means
from benchmarks.wrong_labels.rankings import DETECTOR

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "mislabel.png"
# color and marker; the others are grey
SHOWN = {
    DETECTOR: ("#000000", "*", 190),
    "cleanlab, self_confidence": ("#0072B2", "s", 45),
    "mean loss": ("#D55E00", "o", 45),
    "GIF, worst class": ("#009E73", "^", 50),
    "self-influence": ("#CC79A7", "D", 38),
}
TITLES = {
    "clean": "clean validation labels",
    "as noisy": "noisy validation labels",
}


def main():
    """A panel for each kind of validation labels: AUC of every ranking, a line per case."""
    table = figures(read("mislabel")["cases"])
    runs = table.groupby([*WHERE, "method"])["auc"].agg(["min", "max"])
    auc, cost = means(table, "auc").drop(columns="random"), costs(table).median()
    heights = _heights([each[:2] for each in auc.index[::2]])
    figure, axes = plt.subplots(
        1, 2, figsize=(9.4, 0.38 * len(heights) + 2.6), sharey=True, layout="constrained"
    )
    for ax, validation in zip(axes, VALIDATIONS, strict=True):
        each = auc.xs(validation, level="validation")
        _panel(ax, each, runs.xs(validation, level="validation"), heights, cost)
        ax.set(title=TITLES[validation], xlabel="AUC (1 = all wrong labels come first)")
    axes[0].set_yticks(list(heights.values()), [kind(*case) for case in heights])
    axes[0].invert_yaxis()
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        title="method, and its cost beyond the training (x one training)",
    )
    figure.suptitle("Finding wrong labels: further right is better (mean and range over seeds)")
    figure.savefig(PICTURE, dpi=120)


def _heights(cases):
    """Where each case lies: one under the other, with a gap between data sets."""
    changes = np.cumsum([0, *(a[0] != b[0] for a, b in pairwise(cases))])
    return {case: i + 0.7 * gap for i, (case, gap) in enumerate(zip(cases, changes, strict=True))}


def _panel(ax, auc, runs, heights, cost):
    places = [heights[case] for case in auc.index]
    for depth, (name, (color, marker, size)) in enumerate(SHOWN.items()):
        label = f"{name} ({cost[name]:.1g})"
        of_method = runs.xs(name, level="method").loc[auc.index]
        ax.hlines(places, of_method["min"], of_method["max"], color=color, linewidth=1)
        ax.scatter(
            auc[name], places, s=size, color=color, marker=marker, label=label, zorder=9 - depth
        )
    others = auc.drop(columns=[*SHOWN])
    lines = np.repeat(places, others.shape[1])
    label = f"the other {others.shape[1]} rankings"
    ax.scatter(others, lines, s=60, color="0.75", marker="|", label=label)
    ax.set_xlim(0.45, 1.01)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
