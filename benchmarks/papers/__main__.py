"""Which tables and figures of the two papers have been measured again, and which are missing.

    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers          (the list)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers --run    (what is missing, in its order)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers --run --jobs 2          (two at a time)

Minutes are those of the processor, one thread; of what is missing and of modules that are not of
this folder, an estimate.

Three items run at the size of arXiv:2507.04059 as well, on a GPU where there is one. They download
CIFAR-10 and CIFAR-100 into ``$SAM_ATTRIBUTION_DATA/torchvision``:

    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.edits --full
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.groups_left_out --full
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.removal_curves --full
    python -m benchmarks.papers.edits --full --rows 100 --epochs 1 "CIFAR-10, ViT-B"    (a trial)

A network takes 5 trainings on 50,000 rows in ``edits``, 42 in ``groups_left_out`` and up to 41 in
``removal_curves``. The full size has not been measured. WRN-28-10 and ResNet-50, and ViT-B with two
of its twelve layers, went through training, both repetitions and GIF's edit on four rows of noise,
for one epoch on a CPU (with group norm in WRN-28-10). Every method that ``--full`` keeps went
through 40 rows with a small network.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass

import pandas as pd
from joblib import Parallel, delayed

from benchmarks.papers import (
    checkpoints,
    error_tracing,
    theorems,
)
from benchmarks.papers.setting.cases import few_networks, networks_named
from benchmarks.papers.setting.final_models import CASES
from benchmarks.papers.setting.sizes import SMALL
from benchmarks.report import read

SAM, FINAL = "2507.04059", "2412.03906"


@dataclass(frozen=True)
class Item:
    """Tables or figures, the module that measures them, and how much there is to measure."""

    paper: str
    name: str
    module: str
    n_cases: int = 0  # of a module of this folder
    minutes: float = 0  # of a case, or of a module that is not of this folder; an estimate

    @property
    def file(self):
        return self.module.replace(".", "_")


HERE = "papers."
N_FEW = len(few_networks((), {}, SMALL))
ITEMS = (
    Item(SAM, "theorems 4.3, 4.5: steps", "convex_leave_one_out", minutes=7),
    Item(SAM, "theorems 4.3, 4.5, 4.6", "papers.theorems", len(theorems.STEPS), 4),
    Item(SAM, "tables 1 to 4, figure 11", "papers.edits", len(networks_named((), {}, SMALL)), 12),
    Item(SAM, "figures 1 to 3, 5 to 7", "papers.removal_curves", N_FEW, 11),
    Item("", "retraining beside methods", "papers.groups_left_out", N_FEW, 22),
    Item(SAM, "wrong labels found", "mislabel", minutes=40),
    Item(SAM, "figures 4, 8 to 10", "papers.error_tracing", len(error_tracing.SETS), 10),
    Item(SAM, "figure 12", "papers.checkpoints", len(checkpoints.SETTINGS), 4),
    Item(FINAL, "figures 1 to 3, tables", "papers.further_training", len(CASES), 15),
    Item("", "labels of people", "noise_share", minutes=105),
)


def state(item):
    """Cases measured of all, and minutes of those measured and of the others."""
    content = read(item.file, {})
    if not item.n_cases:
        return ("done", item.minutes, 0) if content else ("missing", 0, item.minutes)
    minutes = [case["minutes"] for case in content.get("cases", {}).values()]
    left = item.n_cases - len(minutes)
    return f"{len(minutes)} of {item.n_cases}", round(sum(minutes)), round(left * item.minutes)


def is_missing(item):
    """True if a case of the item has not been measured."""
    content = read(item.file, {})
    return not content or len(content.get("cases", {})) < item.n_cases


def measure(item):
    subprocess.run([sys.executable, "-m", f"benchmarks.{item.module}"], check=True)


def main():
    """Print the list, or measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--run", action="store_true", help="measure what is missing")
    parser.add_argument("--jobs", type=int, default=1, help="modules that run at a time")
    given = parser.parse_args()
    if given.run:
        missing = filter(is_missing, ITEMS)
        Parallel(given.jobs, prefer="threads")(delayed(measure)(item) for item in missing)
    rows = [
        (item.paper, item.name, f"python -m benchmarks.{item.module}", *state(item))
        for item in ITEMS
    ]
    columns = ["paper", "item", "command", "measured", "minutes", "minutes left"]
    table = pd.DataFrame(rows, columns=columns)
    print(table.to_string(index=False))
    here = table["command"].str.contains(HERE, regex=False)
    for which, part in {"modules of this folder": table[here], "others": table[~here]}.items():
        done, left = part[["minutes", "minutes left"]].sum()
        print(f"{which}: {done} minutes measured, {left} left")


if __name__ == "__main__":
    main()
