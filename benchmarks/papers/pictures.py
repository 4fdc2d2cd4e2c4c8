"""Draw what this folder measured: removal curves, and cosines with further training.

python -m benchmarks.papers.pictures
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.report import read

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLORS = {
    "unrolled": "#000000",
    "SAM-GIF": "#009E73",
    "SAM-HIF (fast), head": "#0072B2",
    "TRAK": "#CC79A7",
    "EK-FAC": "#D55E00",
}
SIDES = {
    "harmful": "most harmful rows removed: higher is better",
    "helpful": "most helpful rows removed: lower is better",
}
FURTHER = {
    "unrolled, fixed": "#000000",
    "Grad-Dot": "#009E73",
    "Grad-Cos": "#0072B2",
    "EK-FAC": "#CC79A7",
    "IF, GMRES": "#D55E00",
    "HIF-fast, GMRES": "#E69F00",
}


def removal_curves(cases):
    """A row of panels for each network, one for each side, with the range of random rows."""
    figure, axes = plt.subplots(
        len(cases), 2, figsize=(9, 2.6 * len(cases)), squeeze=False, layout="constrained",
        sharex=True, sharey="row",
    )  # fmt: skip
    for panels, (key, case) in zip(axes, cases.items(), strict=True):
        percent = [0, *(int(share.removesuffix(" %")) for share in case["random"][0])]
        for ax, side in zip(panels, SIDES, strict=True):
            band = np.array([[case["accuracy"], *each.values()] for each in case["random"]])
            ax.fill_between(percent, band.min(0), band.max(0), color="0.8", label="random rows")
            for name, found in case["methods"].items():
                if side in found:
                    curve = [case["accuracy"], *found[side].values()]
                    ax.plot(percent, curve, marker="o", ms=3, color=COLORS[name], label=name)
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_title(key.rsplit(", ", 1)[0], fontsize="medium")
        panels[0].axhline(case["wrong labels out"], color="0.4", ls=":", label="wrong labels out")
        panels[0].set_ylabel("test accuracy")
    for ax, title in zip(axes[0], SIDES.values(), strict=True):
        ax.set_title(f"{title}\n\n{ax.get_title()}", fontsize="medium")
    for ax in axes[-1]:
        ax.set_xlabel("rows removed (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def further_curves(cases):
    """A panel for each data set: cosine of scores and further training over its amount."""
    figure, axes = plt.subplots(
        2, -(-len(cases) // 2), figsize=(11, 6.4), squeeze=False, layout="constrained", sharey=True
    )
    for ax, (name, case) in zip(axes.flat, cases.items(), strict=False):
        for method, color in FURTHER.items():
            curve = case["adjustments"]["full-data"]["curves"].get(method)
            if curve:
                ax.plot(curve["amount"], curve["mean"], color=color, marker="o", ms=3, label=method)
        half = case["adjustments"]["full-data"]["half of the seeds with the other"]
        label = "half of the seeds with the other"
        ax.plot(half["amount"], half["mean"], color="0.5", ls="--", label=label)
        ax.set(title=name, xscale="log", xlabel="epochs of further training", ylim=(-0.3, 1.05))
        ax.set_xticks(case["amounts"], case["amounts"])
        ax.minorticks_off()
        ax.axhline(0, color="0.8", lw=0.8, zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(cases) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("cosine with further training")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def main():
    """Draw both."""
    argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0]).parse_args()
    for name, draw in {
        "removal_curves": removal_curves,
        "further_training": further_curves,
    }.items():
        cases = read(f"papers_{name}")["cases"]
        draw(cases).savefig(IMAGES / f"papers_{name}.png", dpi=100)


if __name__ == "__main__":
    main()
