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
    "goes through training again": ("#000000", "*", ("unrolled", "loo")),
    "solves, Hessian or Gauss-Newton": (
        "#0072B2", "s", ("if", "cg", "arnoldi", "lissa", "hif-fast", "hif-paper", "hif", "relatif"),
    ),
    "inverts in closed form": ("#009E73", "^", ("ekfac", "datainf", "trak")),
    "sums gradients along training": (
        "#D55E00", "o", ("gif", "gif, worst class", "tracin", "self-influence"),
    ),
    "final gradients only": ("#CC79A7", "D", ("grad-dot", "grad-cos")),
}  # fmt: skip
FIGURES = {"pearson": "Pearson with leaving each row out", "auc": "AUC on wrong labels"}
# where a label would lie on another one: to the right and up, in points
OFFSETS = {
    "pearson": {
        "if": (-7, -6), "cg": (-3, 7), "hif-fast": (-4, -13), "arnoldi": (2, -14),
        "hif": (-4, 7), "hif-paper": (7, -5), "lissa": (-4, 8), "relatif": (-8, -4),
        "grad-dot": (-8, -4), "gif": (-4, -14), "datainf": (-8, 8),
    },
    "auc": {
        "if": (-7, -6), "hif-fast": (-7, 4), "cg": (7, 2), "arnoldi": (6, -8),
        "self-influence": (-7, -4), "relatif": (-8, -13), "grad-dot": (-8, -4),
        "gif": (6, -9),
    },
}  # fmt: skip


def main():
    """Both figures against the price, a point for each method."""
    networks = read("baselines")["networks"]
    digits = [network for network in networks.values() if "loo" in network["methods"]]
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.8), layout="constrained", sharex=True)
    for ax, (what, label) in zip(axes, FIGURES.items(), strict=True):
        for family, (color, marker, names) in FAMILIES.items():
            points = np.array([_point(digits, name, what) for name in names])
            ax.scatter(*points.T, s=55, color=color, marker=marker, label=family, zorder=3)
            for name, point in zip(names, points, strict=True):
                _name(ax, name, point, OFFSETS[what].get(name, (7, -3)), color)
        ax.set(xscale="log", xlabel="price, in SAM trainings", ylabel=label)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    own_loss = np.mean([network["auc_of_own_loss"] for network in digits])
    axes[1].axhline(own_loss, color="0.35", linestyle="--")
    axes[1].annotate("row's own loss", (1, own_loss), (0, 5), color="0.35", **_POINTS)
    axes[0].set(xlim=(0.025, 80), ylim=(0, 1.04))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle("digits, 300 rows, mean over three networks: better is up, cheaper is left")
    figure.savefig(PICTURE, dpi=120)


_POINTS = {"textcoords": "offset points", "fontsize": 9}


def _point(networks, name, what):
    """Geometric mean of the price, mean of the figure."""
    found = [network["methods"][name] for network in networks]
    trainings = np.exp(np.mean(np.log([each["trainings"] for each in found])))
    return trainings, np.mean([each[what] for each in found])


def _name(ax, name, point, offset, color):
    side = "left" if offset[0] >= 0 else "right"
    ax.annotate(name, point, offset, color=color, ha=side, **_POINTS)


if __name__ == "__main__":
    main()
