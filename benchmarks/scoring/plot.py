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
    """Times beside other libraries, and growth with rows and checkpoints."""
    content = json.loads(RESULT.read_text())
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for ax, (name, case) in zip(axes[0], content["cases"].items(), strict=True):
        _bars(ax, case)
        ax.set_title(f"{TITLES[name]}, {case['n_rows']} rows")
    _line(axes[1, 0], content["growth"]["rows"], "training rows (MLP, 1 checkpoint)")
    _line(axes[1, 1], content["growth"]["checkpoints"], "checkpoints (MLP, 4000 rows)")
    figure.savefig(PICTURE, dpi=120)


def _bars(ax, case):
    peers = case["peers"]
    ours = np.median([peer["seconds_reference"] for peer in peers.values()])
    seconds = {"sam_attribution": ours} | {n: p["seconds"] for n, p in peers.items()}
    names = sorted(seconds, key=seconds.get, reverse=True)
    colours = ["C1" if name == "sam_attribution" else "C0" for name in names]
    bars = ax.barh(names, [seconds[name] for name in names], color=colours)
    ax.bar_label(bars, labels=[f" {seconds[name]:.2g} s" for name in names])
    ax.set_xlabel(f"CPU seconds, one thread, {case['n_checkpoints']} checkpoints")
    ax.margins(x=0.15)


def _line(ax, curve, label):
    sizes, seconds = np.array(curve["sizes"]), np.array(curve["seconds"])
    middle = np.exp(np.mean(np.log(seconds)) - np.mean(np.log(sizes)))
    ax.loglog(sizes, seconds, "o-", label=f"measured, slope {curve['slope']:.2f}")
    ax.loglog(sizes, middle * sizes, "--", color="grey", label="slope 1")
    ax.set(xlabel=label, ylabel="CPU seconds, one thread")
    ax.legend()


if __name__ == "__main__":
    main()
