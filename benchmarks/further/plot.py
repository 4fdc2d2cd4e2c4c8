"""Draw ``benchmarks/results/further_training.json``.

python -m benchmarks.further.plot
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.report import read
from sam_attribution.plotting import FurtherTrainingDisplay

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "further_training.png"
METHODS = (
    "Grad-Dot",
    "Grad-Cos",
    "TracIn",
    "GIF",
    "IF, damping auto",
    "HIF-fast, damping auto",
    "HIF, damping auto",
)
CEILING = "half of the seeds with the other"
TITLES = {"full-data": "minus training with all rows", "mean": "minus the mean over rows"}


def main():
    """A row of panels for each data set: both adjustments over the amount, and over seeds."""
    cases = read("further_training")
    figure, axes = plt.subplots(
        len(cases), 3, figsize=(15, 4.4 * len(cases)), layout="constrained", squeeze=False
    )
    for panels, (name, case) in zip(axes, cases.items(), strict=True):
        found = case["adjustments"]
        for ax, (adjustment, title) in zip(panels[:2], TITLES.items(), strict=True):
            curves = found[adjustment]["curves"] | {CEILING: found[adjustment][CEILING]}
            _draw(ax, {each: curves[each] for each in (*METHODS, CEILING)}, "amount", "epochs")
            ax.set_title(f"{name}: {title}", fontsize="medium")
        _draw(panels[2], found["full-data"]["over_seeds"]["10"], "amount", "seeds")
        panels[2].set_title(f"{name}: after 10 epochs, {TITLES['full-data']}", fontsize="medium")
    for ax in axes.flat:
        ax.legend().remove()
        ax.set(xscale="log", ylabel="", ylim=(-0.15, 1.05))
        ax.xaxis.set_major_formatter("{x:g}")
    for ax in axes[:, 2]:
        ax.set_xlabel("number of seeds")
    for ax in axes[:, 0]:
        ax.set_ylabel("cosine of scores and further training")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    figure.savefig(PICTURE, dpi=110)


def _draw(ax, curves, index, amount_name):
    shown = {name: curves[name] for name in (*METHODS, CEILING) if name in curves}
    tables = {name: pd.DataFrame(curve).set_index(index) for name, curve in shown.items()}
    FurtherTrainingDisplay(tables, amount_name=amount_name).plot(ax=ax)


if __name__ == "__main__":
    main()
