"""Which tables and figures of the two papers have been measured again, and which are missing.

    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers          (the list)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers --run    (what is missing, in its order)

Minutes are those of the processor, one thread; of what is missing, an estimate.

Three items run at the size of arXiv:2507.04059 as well, on a GPU where there is one. They download
CIFAR-10 and CIFAR-100 into ``$SAM_ATTRIBUTION_DATA/torchvision``:

    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.edits --full
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.truth --full
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.curves --full
    python -m benchmarks.papers.edits --full --rows 100 --epochs 1 "CIFAR-10, ViT-B"    (a trial)

A network takes 5 trainings on 50,000 rows in ``edits``, 21 in ``truth`` and up to 41 in ``curves``.
The full size has not been measured. WRN-28-10 and ResNet-50, and ViT-B with two of its twelve
layers, went through training, both repetitions and GIF's edit on four rows of noise, for one epoch
on a CPU (with group norm in WRN-28-10). Every method that ``--full`` keeps went through 40 rows
with a small network.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass

import pandas as pd

from benchmarks.papers import checkpoints, curves, edits, tracing, truth
from benchmarks.papers.further_cases import CASES
from benchmarks.papers.runs import few_networks, networks_named
from benchmarks.papers.scale import SMALL
from benchmarks.report import read

SAM, FINAL = "2507.04059", "2412.03906"


def n_networks(module, networks=few_networks):
    """Cases of a module: networks, and seeds where it has several."""
    return len(networks((), module.SEEDS, SMALL))


@dataclass(frozen=True)
class Item:
    """A table or figure, the module that measures it, and the size of that."""

    paper: str
    name: str
    module: str
    file: str
    n_cases: int = 0  # of a file of this folder
    minutes: float = 0  # of a case, by estimate


ITEMS = (
    Item(SAM, "theorems 4.3, 4.5, 4.6", "convex_leave_one_out", "convex_leave_one_out"),
    Item(
        SAM, "tables 1 to 4, figure 11", "papers.edits", "papers_edits",
        n_networks(edits, networks_named), 12,
    ),
    Item(SAM, "figures 1 to 3, 5 to 7", "papers.curves", "papers_curves", n_networks(curves), 12),
    Item("", "retraining beside methods", "papers.truth", "papers_truth", n_networks(truth), 13),
    Item(SAM, "wrong labels found", "mislabel", "mislabel"),
    Item(SAM, "figures 4, 8 to 10", "papers.tracing", "papers_tracing", len(tracing.SETS), 8),
    Item(
        SAM, "figure 12", "papers.checkpoints", "papers_checkpoints",
        len(checkpoints.SETTINGS), 10,
    ),
    Item(FINAL, "figures 1 to 3, tables", "papers.further", "papers_further", len(CASES), 15),
    Item(FINAL, "20 seeds, 100 epochs", "further_training", "further_training"),
    Item("", "labels of people", "noise_share", "noise_share"),
)  # fmt: skip


def state(item):
    """Cases measured of all, and minutes of those measured and of the others."""
    content = read(item.file, {})
    if not item.n_cases:
        return ("done" if content else "missing"), "", ""
    minutes = [case["minutes"] for case in content.get("cases", {}).values()]
    left = item.n_cases - len(minutes)
    return f"{len(minutes)} of {item.n_cases}", round(sum(minutes)), round(left * item.minutes)


def is_missing(item):
    """True if a case of the item has not been measured."""
    content = read(item.file, {})
    return not content or len(content.get("cases", {})) < item.n_cases


def main():
    """Print the list, or measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--run", action="store_true", help="measure what is missing")
    if parser.parse_args().run:
        for item in filter(is_missing, ITEMS):
            subprocess.run([sys.executable, "-m", f"benchmarks.{item.module}"], check=True)
    rows = [
        (item.paper, item.name, f"python -m benchmarks.{item.module}", *state(item))
        for item in ITEMS
    ]
    columns = ["paper", "item", "command", "measured", "minutes", "minutes left"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
