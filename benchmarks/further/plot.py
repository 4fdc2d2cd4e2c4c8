"""Draw ``benchmarks/results/further_training.json``.

python -m benchmarks.further.plot
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.report import read
from sam_attribution.plotting import FurtherTrainingDisplay

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "further_training.png"
CEILING = "half of the seeds with the other"
PANELS = {
    "Grad-Dot": "Grad-Dot",
    "Grad-Cos": "Grad-Cos",
    "TracIn": "TracIn",
    "GIF": "GIF",
    "IF, damping auto": "IF, automatic damping",
    "HIF-fast, damping auto": "HIF-fast, automatic damping",
    "HIF, damping auto": "HIF, automatic damping",
    CEILING: "ceiling: half of the seeds\nwith the other half",
}
DATA = {"concrete": "Concrete (regression)", "adult": "Adult (two classes)"}


def main():
    """A panel for each method, with a line for each data set."""
    cases = read("further_training")
    figure, axes = plt.subplots(
        2, 4, figsize=(9.4, 5.9), layout="constrained", sharex=True, sharey=True
    )
    for ax, (method, title) in zip(axes.flat, PANELS.items(), strict=True):
        curves = {DATA[name]: _curve(case, method) for name, case in cases.items()}
        FurtherTrainingDisplay(curves).plot(ax=ax)
        ax.legend().remove()
        ax.set(xscale="log", ylabel="", ylim=(-0.1, 1.05))
        ax.set_xlabel("epochs of further training" if ax in axes[-1] else "")
        ax.set_title(title, fontsize="medium")
        ax.xaxis.set_major_formatter("{x:g}")
    figure.supylabel("cosine of scores and measured effects", fontsize="medium")
    figure.suptitle(
        "How well scores predict further training without a row\n"
        "(1 = perfect; mean over queries, bands of one standard error)"
    )
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    figure.savefig(PICTURE, dpi=120)


def _curve(case, method):
    found = case["adjustments"]["full-data"]
    return pd.DataFrame((found["curves"] | {CEILING: found[CEILING]})[method]).set_index("amount")


if __name__ == "__main__":
    main()
