"""Draw ``benchmarks/results/baselines.json``.

python -m benchmarks.baselines_plot
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter

from benchmarks.report import read

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "baselines.png"
FAMILIES = {
    "trains again, or differentiates the training": ("#000000", "*", ("unrolled", "loo")),
    "solves with the Hessian or Gauss-Newton matrix": (
        "#0072B2", "s", ("if", "cg", "arnoldi", "lissa", "hif-fast", "hif-paper", "hif", "relatif"),
    ),
    "inverts in closed form": ("#009E73", "^", ("ekfac", "datainf", "trak")),
    "sums gradients of checkpoints": (
        "#D55E00", "o", ("gif", "gif, worst class", "tracin", "self-influence"),
    ),
    "gradients of the final model": ("#CC79A7", "D", ("grad-dot", "grad-cos")),
}  # fmt: skip
FIGURES = {
    "pearson": "Pearson correlation with\nleave-one-out retraining",
    "auc": "AUC on wrong labels",
}
# where a label would lie on another one: to the right and up, in points
OFFSETS = {
    "pearson": {
        "hif-fast": (-8, -6), "if": (-1, 9), "cg": (4, 8), "arnoldi": (2, -17), "hif": (7, 4),
        "hif-paper": (7, -11), "grad-dot": (-8, -4), "gif": (-8, -8), "gif, worst class": (5, 6),
        "datainf": (7, 2),
    },
    "auc": {
        "hif-fast": (-7, 0), "if": (-7, -10), "cg": (6, 3), "arnoldi": (5, -13), "hif": (7, 1),
        "hif-paper": (7, -9), "relatif": (7, 4), "ekfac": (7, 3), "self-influence": (-8, -4),
        "grad-dot": (-8, -7), "datainf": (-7, 5), "gif": (-6, -13),
    },
}  # fmt: skip


def main():
    """Both figures against the cost, a point for each method."""
    networks = read("baselines")["networks"]
    digits = [network for network in networks.values() if "loo" in network["methods"]]
    figure, axes = plt.subplots(2, 1, figsize=(9, 9.6), layout="constrained", sharex=True)
    for ax, (what, label) in zip(axes, FIGURES.items(), strict=True):
        for family, (color, marker, names) in FAMILIES.items():
            _draw_family(ax, digits, names, what, color=color, marker=marker, label=family)
        ax.set(xscale="log", ylabel=label)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    own_loss = np.mean([network["auc_of_own_loss"] for network in digits])
    axes[1].axhline(own_loss, color="0.35", linestyle="--")
    axes[1].annotate("the row's own loss", (0.03, own_loss), (0, 4), color="0.35", **_POINTS)
    axes[1].set(xlim=(0.028, 110), xlabel="cost (x one training)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(
        "Every method on digits (300 rows): better is up, cheaper is left\n"
        "mean and range over three networks"
    )
    figure.savefig(PICTURE, dpi=120)


_POINTS = {"textcoords": "offset points", "fontsize": 10}


def _draw_family(ax, networks, names, what, **style):
    points = {name: _point(networks, name, what) for name in names}
    x, mean, low, high = np.transpose(list(points.values()))
    ax.vlines(x, low, high, color=style["color"], alpha=0.25, linewidth=1.5)
    ax.scatter(x, mean, s=50, zorder=3, **style)
    for name, point in points.items():
        right, up = OFFSETS[what].get(name, (7, -4))
        side = "left" if right >= 0 else "right"
        ax.annotate(name, point[:2], (right, up), color=style["color"], ha=side, **_POINTS)


def _point(networks, name, what):
    """Geometric mean of the cost; mean, lowest and highest value of the figure."""
    found = [network["methods"][name] for network in networks]
    trainings = np.exp(np.mean(np.log([each["trainings"] for each in found])))
    values = [each[what] for each in found]
    return trainings, np.mean(values), min(values), max(values)


if __name__ == "__main__":
    main()
