"""arXiv:2507.04059, figure 12: SAM-GIF's edit by the number of checkpoints, and what it costs.

    pip install -e ".[benchmarks]" torchvision
    python -m benchmarks.papers.checkpoints

The paper's setting: random rows of clean mnist are removed (8 %). And one in which GIF should do
better: a network without momentum at a fifth of the rate, 1 % of the rows, so that training is
nearly a straight line. Accuracy on 2000 test rows beside training again without the rows, and the
cosine of the two changes of the weights. Writes ``benchmarks/results/papers_checkpoints.json``.
"""

import warnings

import numpy as np

from benchmarks.papers.data import draw
from benchmarks.papers.edits import Edits
from benchmarks.papers.networks import classifier
from benchmarks.papers.runs import SEED, cpu_seconds, run_missing
from sam_attribution.methods import GIF

NUMBERS = (1, 2, 5, 10, 20, 50, None)  # None: every step
SETTINGS = {"as in the paper": (0.08, {}), "favourable": (0.01, {"optimizer__momentum": 0})}
NETWORK, SLOWER = "ResNet", 5


def one_setting(data, setting):
    """Edits by every number of checkpoints."""
    share, changed = SETTINGS[setting]
    rows = draw(data, SEED)
    net = classifier(NETWORK, rows, SEED, trajectory="all", **changed)
    if changed:
        net.set_params(lr=net.lr / SLOWER)
    _, seconds = cpu_seconds(lambda: net.fit(*rows.train))
    order = np.random.default_rng(SEED).permutation(len(rows.train[1]))
    edits = Edits(net, rows, {"removed": order[: int(len(order) * share)]})
    found = {"retrain": edits.plain("retrain")}
    for number in NUMBERS:
        name = "every step" if number is None else f"{number}"
        found[name] = edits.linear({"method": GIF(n_checkpoints=number)})
    return {"seconds_training": seconds, "accuracy": net.score(*rows.test), "edits": found}


def main():
    """Measure the settings that the JSON lacks."""
    warnings.simplefilter("ignore")
    run_missing("papers_checkpoints", [("mnist", name) for name in SETTINGS], one_setting)


if __name__ == "__main__":
    main()
