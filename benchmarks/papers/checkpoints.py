"""arXiv:2507.04059, figure 12: SAM-GIF's edit by the number of checkpoints, and what it costs.

    pip install -e ".[benchmarks]" torchvision
    python -m benchmarks.papers.checkpoints

The paper's setting: random rows of clean mnist are removed (8 %). And settings in which GIF should
do better: a network without batch norm; one without momentum at a fifth of the rate and 1 % of the
rows, so that training is nearly a straight line; and a trained network that is fine-tuned slowly,
so that its gradients hardly change. Accuracy on 2000 test rows beside training again without the
rows, and the cosine of the two changes of the weights. Writes
``benchmarks/results/papers_checkpoints.json``.
"""

import argparse
import warnings
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np

from benchmarks.papers.edits import Edits
from benchmarks.papers.setting.cases import SEED, cpu_seconds, run_missing
from benchmarks.papers.setting.sizes import SMALL
from benchmarks.papers.setting.small_data import draw
from benchmarks.papers.setting.small_networks import GROUP_NORM, OWN, classifier
from sam_attribution.methods import GIF

NUMBERS = (1, 2, 5, 10, 20, 50, None)  # None: every step


@dataclass(frozen=True)
class Setting:
    """A network, the share of the rows that is removed, and how it is trained."""

    network: str = "ResNet"
    share: float = 0.08
    slower: float = 1
    changed: dict = field(default_factory=dict)
    is_fine_tuned: bool = False


PLAIN = {"optimizer__momentum": 0}
SETTINGS = {
    "as in the paper": Setting(),
    "without batch norm": Setting(GROUP_NORM),
    "straight": Setting(share=0.01, slower=5, changed=PLAIN),
    "fine-tuned": Setting(
        GROUP_NORM, slower=10, changed=PLAIN | {"max_epochs": 5}, is_fine_tuned=True
    ),
}


def one_setting(data, name):
    """Edits by every number of checkpoints."""
    setting, rows = SETTINGS[name], draw(data, SEED)
    lr = OWN[setting.network]["lr"] / setting.slower
    net = classifier(setting.network, rows, SEED, trajectory="all", lr=lr, **setting.changed)
    if setting.is_fine_tuned:
        trained = classifier(setting.network, rows, SEED).fit(*rows.train)
        net.set_params(module=deepcopy(trained.module_))
    _, seconds = cpu_seconds(lambda: net.fit(*rows.train))
    order = np.random.default_rng(SEED).permutation(len(rows.train[1]))
    edits = Edits(net, rows, {"removed": order[: int(len(order) * setting.share)]})
    found = {"retrain": edits.plain(how="retrain")}
    for number in NUMBERS:
        each = "every step" if number is None else f"{number}"
        found[each] = edits.linear({"method": GIF(n_checkpoints=number)})
    return {"seconds_training": seconds, "accuracy": net.score(*rows.test), "edits": found}


def main():
    """Measure the settings that the JSON lacks."""
    argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0]).parse_args()
    warnings.simplefilter("ignore")
    run_missing("papers_checkpoints", SMALL, [("mnist", name) for name in SETTINGS], one_setting)


if __name__ == "__main__":
    main()
