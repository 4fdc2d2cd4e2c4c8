"""Draw ``benchmarks/results/scoring_speed.json``.

python -m benchmarks.scoring.plot
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

RESULT = Path(__file__).parents[1] / "results" / "scoring_speed.json"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "scoring_speed.png"
TITLES = {"mlp": "MLP 784-256-10", "cnn_groupnorm": "CNN with group norm"}


def main():
    """Cost beside other libraries, and growth with rows and checkpoints."""
    content = json.loads(RESULT.read_text())
    figure, axes = plt.subplots(2, 2, figsize=(9, 7.4), layout="constrained")
    for ax, (name, case) in zip(axes[0], content["cases"].items(), strict=True):
        _bars(ax, case)
        ax.set_title(f"{TITLES[name]}, {case['n_rows']} rows", fontsize="medium")
    _line(axes[1, 0], content["growth"]["rows"], "training rows (MLP, 1 checkpoint)")
    _line(axes[1, 1], content["growth"]["checkpoints"], "checkpoints (MLP, 4000 rows)")
    figure.suptitle(
        "CPU time of TracIn scores on one thread, lower is better\n"
        "above: beside other libraries, 3 checkpoints, median and range of 3 repeats\n"
        "below: growth of our time with the rows and the checkpoints"
    )
    figure.savefig(PICTURE, dpi=120)


def _bars(ax, case):
    """Median ratio of each library to ours, with the lowest and the highest of the repeats."""
    peers = dict(sorted(case["peers"].items(), key=lambda peer: -peer[1]["ratio"]))
    names = [*peers, "sam_attribution"]
    ratios = np.array([*(peer["ratio"] for peer in peers.values()), 1.0])
    low = np.array([*(peer["ratio_min"] for peer in peers.values()), 1.0])
    high = np.array([*(peer["ratio_max"] for peer in peers.values()), 1.0])
    colours = ["C0"] * len(peers) + ["C1"]
    sides = ratios - low, high - ratios
    bars = ax.barh(names, ratios, xerr=sides, color=colours, ecolor="0.25", capsize=2)
    ax.bar_label(bars, labels=[f" {ratio:.3g} x" for ratio in ratios])
    ax.set_xlabel("CPU time (x sam_attribution)")
    ax.margins(x=0.28)


def _line(ax, curve, label):
    sizes, seconds = np.array(curve["sizes"]), np.array(curve["seconds"])
    middle = np.exp(np.mean(np.log(seconds)) - np.mean(np.log(sizes)))
    ax.loglog(sizes, seconds, "o-", label=f"measured, slope {curve['slope']:.2f}")
    ax.loglog(sizes, middle * sizes, "--", color="grey", label="slope 1")
    ax.set(xlabel=label, ylabel="CPU seconds")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend()


if __name__ == "__main__":
    main()
