"""Draw ``benchmarks/results/editing_<part>.json``: accuracy against cost.

python -m benchmarks.editing_plot
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from benchmarks.report import read

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "editing.png"
PARTS = {"digits": "digits, MLP", "mnist": "mnist, MLP", "cifar": "CIFAR-10, CNN"}
NOISE = {"symmetric, 10 %": "#0072B2", "pair, 20 %": "#D55E00"}
SHARES = ("replay 1/85", "replay 0.1", "replay 0.2", "retrain")
LINEAR = {"gif": "v", "hif-fast, head": "s", "unrolled": "^", "hif, arnoldi": "D"}
LOWEST = -0.08  # what is worse is drawn at the edge
TICKS = (LOWEST, -0.06, -0.04, -0.02, 0, 0.02)


def main():
    """A panel for each network; replay as lines, linear edits as single marks."""
    figure, axes = plt.subplots(1, len(PARTS), figsize=(9.4, 5), sharey=True, layout="constrained")
    for ax, (part, title) in zip(axes, PARTS.items(), strict=True):
        _panel(ax, read(f"editing_{part}")["runs"])
        ax.set(title=title, xscale="log", xlabel="cost (x one training)")
        ax.set(xlim=(3e-3, 6), ylim=(LOWEST - 0.005, 0.025), yticks=TICKS)
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0].set_yticks(TICKS, [f"{LOWEST:g}\nor less", *map("{:g}".format, TICKS[1:])])
    axes[0].set_ylabel("accuracy minus that of retraining")
    figure.suptitle(
        "Test accuracy after wrong labels are removed from a trained model (bars: range over seeds)"
    )
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    figure.savefig(PICTURE, dpi=120)


def _legend():
    """Entries for what a colour means, and for what a mark means."""
    noises = [Line2D([], [], color=color, lw=4, label=name) for name, color in NOISE.items()]
    grey = {"color": "0.35"}
    ways = [
        Line2D([], [], linestyle=":", label="before the edit", **grey),
        Line2D([], [], marker="o", label="replay (last mark: retraining)", **grey),
    ]
    linear = [
        Line2D([], [], marker=marker, linestyle="none", label=f"linear edit: {way}", **grey)
        for way, marker in LINEAR.items()
    ]
    return noises + ways + linear


def _panel(ax, runs):
    ax.axhline(0, color="0.8", linewidth=1)
    for noise, color in NOISE.items():
        mine = [run for name, run in runs.items() if name.startswith(noise)]
        if not mine:
            continue
        before = np.mean([run["accuracy"] - _again(run)["accuracy"] for run in mine])
        ax.axhline(before, color=color, linestyle=":")
        cost, mean, low, high = np.transpose([_point(mine, way) for way in SHARES])
        ax.errorbar(cost, mean, (mean - low, high - mean), fmt="o-", color=color, capsize=2)
        for way, marker in LINEAR.items():
            if some := [run for run in mine if way in run["groups"]["wrong"]]:
                cost, mean, low, high = _point(some, way)
                ax.vlines(cost, max(low, LOWEST), max(high, LOWEST), color=color)
                ax.plot(cost, max(mean, LOWEST), color=color, marker=marker)


def _again(run):
    return run["groups"]["wrong"]["retrain"]


def _point(runs, way):
    """Mean cost; mean, lowest and highest difference of a way of editing."""
    found = [(run["groups"]["wrong"][way], run) for run in runs]
    cost = np.mean([edit["seconds"] / run["seconds"] for edit, run in found])
    differences = [edit["accuracy"] - _again(run)["accuracy"] for edit, run in found]
    return cost, np.mean(differences), min(differences), max(differences)


if __name__ == "__main__":
    main()
