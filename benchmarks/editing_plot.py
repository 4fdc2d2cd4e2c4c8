"""Draw ``benchmarks/results/editing_<part>.json``: accuracy against cost.

python -m benchmarks.editing_plot
"""

import statistics
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.report import read

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "editing.png"
PARTS = {"digits": "digits, MLP", "mnist": "mnist, MLP", "cifar": "CIFAR-10, CNN"}
NOISE = {"symmetric, 10 %": "#0072B2", "pair, 20 %": "#D55E00"}
SHARES = ("replay 1/85", "replay 0.1", "replay 0.2", "retrain")
LINEAR = {"gif": "v", "hif-fast, head": "s", "unrolled": "^", "hif, arnoldi": "D"}
LOWEST = -0.08  # what is worse is drawn at the edge


def main():
    """A panel for each network; replay as lines, linear edits as single marks."""
    figure, axes = plt.subplots(1, len(PARTS), figsize=(13, 4.6), sharey=True, layout="constrained")
    for ax, (part, title) in zip(axes, PARTS.items(), strict=True):
        _panel(ax, read(f"editing_{part}")["runs"])
        ax.set(
            title=title,
            xscale="log",
            xlabel="cost (x one training)",
            xlim=(4e-3, 5),
            ylim=(LOWEST - 0.004, 0.02),
        )
    axes[0].set_ylabel("accuracy minus that of retraining")
    labelled = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        labelled |= dict(zip(labels, handles, strict=True))
    figure.legend(labelled.values(), labelled.keys(), loc="outside lower center", ncols=4)
    figure.savefig(PICTURE, dpi=110)


def _panel(ax, runs):
    ax.axhline(0, color="0.8", linewidth=1)
    for noise, color in NOISE.items():
        mine = [run for name, run in runs.items() if name.startswith(noise)]
        if not mine:
            continue
        before = statistics.mean(run["accuracy"] - _again(run)["accuracy"] for run in mine)
        ax.axhline(before, color=color, linestyle=":", label=f"{noise}: before the edit")
        line = [_point(mine, way) for way in SHARES]
        ax.plot(*zip(*line, strict=True), "o-", color=color, label=f"{noise}: replay")
        for way, marker in LINEAR.items():
            if some := [run for run in mine if way in run["groups"]["wrong"]]:
                x, y = _point(some, way)
                style = {"color": color, "marker": marker, "linestyle": "none"}
                ax.plot(x, max(y, LOWEST), label=f"{noise}: {way}", **style)


def _again(run):
    return run["groups"]["wrong"]["retrain"]


def _point(runs, way):
    """Mean cost and mean difference of a way of editing."""
    found = [(run["groups"]["wrong"][way], run) for run in runs]
    return (
        statistics.mean(edit["seconds"] / run["seconds"] for edit, run in found),
        statistics.mean(edit["accuracy"] - _again(run)["accuracy"] for edit, run in found),
    )


if __name__ == "__main__":
    main()
