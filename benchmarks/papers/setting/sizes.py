"""Two sizes of the benchmarks of arXiv:2507.04059: this folder's small one, and the paper's own.

``--full`` trains on 50,000 images of CIFAR-10 and CIFAR-100 with WRN-28-10, ResNet-50 and ViT-B,
on a GPU where there is one. ``--rows`` and ``--epochs`` shorten that for a trial. Each choice
writes a file of its own: ``papers_edits.json``, ``papers_edits_full.json``, and, with
``--rows 100 --epochs 1``, ``papers_edits_full_100_rows_1_epochs.json``.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from benchmarks.papers.setting import full_data, full_networks, small_data, small_networks
from benchmarks.papers.setting.cases import cpu_seconds, wall_seconds

LEFT_OUT = {
    "unrolled": (
        "The method keeps up to 2 sqrt(T) states of T steps in memory, beside the recorded ones: "
        "63 GB for WRN-28-10 and 148 GB for ViT-B at 30 epochs. unrolled-segments stands for it "
        "where scores are compared; it makes no edits."
    )
}


@dataclass(frozen=True)
class Size:
    """Image sets, networks and methods of one size, and where they run.

    `draw` takes the name of an image set and a seed; `classifier` that of a network, the rows and a
    seed. `timed` gives the result of a function and its seconds. `about` stands in the JSON beside
    the machine.
    """

    images: tuple
    networks: tuple
    draw: Callable
    classifier: Callable
    is_there: Callable = lambda name: True
    timed: Callable = wall_seconds
    n_threads: int = 1
    suffix: str = ""  # of the file
    left_out: dict = field(default_factory=dict)  # methods, and why
    added: dict = field(default_factory=dict)  # methods whose scores stand for those of these
    about: dict = field(default_factory=dict)

    def methods(self, methods):
        """Those of `methods` that this size can afford."""
        return {name: each for name, each in methods.items() if name not in self.left_out}

    def scored(self, methods):
        """Those of `methods` that this size can afford, and those that stand for the others."""
        return self.methods(methods) | self.added


SMALL = Size(
    images=tuple(small_data.IMAGES),
    networks=tuple(small_networks.NETWORKS),
    draw=small_data.draw,
    classifier=small_networks.classifier,
    is_there=small_data.is_there,
    timed=cpu_seconds,
)


def full(n_rows=None, n_epochs=None):
    """The paper's size; with some of the training rows and epochs only, if they are given."""
    on_gpu = torch.cuda.is_available()
    limits = {"rows": n_rows, "epochs": n_epochs}
    return Size(
        images=tuple(full_data.IMAGES),
        networks=tuple(full_networks.NETWORKS),
        draw=partial(full_data.draw, n_rows=n_rows),
        classifier=partial(
            full_networks.classifier, n_epochs=n_epochs, device="cuda" if on_gpu else "cpu"
        ),
        n_threads=torch.get_num_threads(),
        suffix="_full" + "".join(f"_{n}_{name}" for name, n in limits.items() if n is not None),
        left_out=LEFT_OUT,
        added={"unrolled-segments": {"method": "unrolled-segments"}},
        about={"device": torch.cuda.get_device_name() if on_gpu else "cpu", "left_out": LEFT_OUT},
    )


def asked(doc):
    """Size and names of networks that the command line asks for."""
    parser = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help='such as "mnist, ResNet"; all by default')
    parser.add_argument("--full", action="store_true", help="the paper's own size")
    parser.add_argument("--rows", type=int, help="of --full: 20 or more, two or more of a class")
    parser.add_argument("--epochs", type=int, help="of --full")
    given = parser.parse_args()
    if given.full:
        return full(given.rows, given.epochs), given.names
    if given.rows or given.epochs:
        parser.error("--rows and --epochs shorten --full: pass it as well.")
    return SMALL, given.names
