"""arXiv:2507.04059, tables 1 to 4 and figure 11: edits of a model beside training again.

    pip install -e ".[benchmarks]" torchvision
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.edits           (all)
    python -m benchmarks.papers.edits "mnist, ResNet"                       (some)
    python -m benchmarks.papers.edits --full                         (the paper's size)

Random rows are removed, 1, 2, 4 and 8 % of 1000. Training again has the same start and batches,
with the rows at weight 0. Every edit has the accuracy on 2000 test rows, the loss of the removed
rows, and the cosine of its change with that of training again, over the weights that it changes.
Beside the edits stands a random change as long as that of training again; TRAK changes no weights,
so that it has no edit. Theorem 4.5 of the paper and the exact derivative, whose solves take
products through the whole network, are measured on one network, with the damping of the fast
variant (figure 11). Unrolled edits, of which each costs as much as ``fit``: 1 % only.

Seconds are CPU seconds of one thread; those of ``fit``, once for all edits of a method, stand
apart. With ``--full`` they are those of the clock, see :mod:`benchmarks.papers.setting.sizes`.
Writes ``benchmarks/results/papers_edits.json`` after each network and goes on from there.
"""

import copy
import warnings
from functools import partial

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch.nn.functional import cosine_similarity
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks.papers.setting.cases import REFUSALS, cpu_seconds, networks_named, run_missing
from benchmarks.papers.setting.sizes import asked
from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.linalg import GMRES
from sam_attribution.methods import GIF, HIF, GradDot, InfluenceFunction, Unrolled

PERCENT = (1, 2, 4, 8)
FEW = GMRES(tol=1e-2, max_iter=10)  # products through the whole network for each edit
ONE_GROUP_ONLY = "unrolled"  # each edit is a pass through the training
FAST = "SAM-HIF (fast), head"
METHODS = {  # of linear edits
    ONE_GROUP_ONLY: {"method": Unrolled(check=None)},
    "SAM-GIF": {"method": GIF()},
    FAST: {"method": HIF("fast"), "parameters": "head"},
    "IF, head": {"method": InfluenceFunction(), "parameters": "head"},
    "IF with EK-FAC": {"method": "ekfac"},
}
FIGURE_11 = "mnist", "Wide ResNet"
VARIANTS = {"SAM-HIF (theorem 4.5), head": "paper", "HIF, exact, head": "full"}


def one_network(size, data, network, seed):
    """Figures of all edits of one network."""
    rows = size.draw(data, seed)
    net, seconds = size.timed(lambda: size.classifier(network, rows, seed).fit(*rows.train))
    order = np.random.default_rng(seed).permutation(len(rows.train[1]))
    groups = {f"{p} %": order[: max(1, len(order) * p // 100)] for p in PERCENT}
    edits = Edits(net, rows, groups, size.timed)
    found = {
        "retrain": edits.plain(how="retrain"),
        "replay": edits.plain(how="replay"),
        "replay, lr_factor=2": edits.plain(how="replay", lr_factor=2),
        "replay, recorded rates": edits.plain(how="replay", lr_factor=None),
        "random": edits.random(seed),
    }
    for name, settings in size.methods(METHODS).items():
        found[name] = edits.linear(settings, 1 if name == ONE_GROUP_ONLY else None)
    if (data, network) == FIGURE_11:
        damping = found[FAST]["damping"]
        for name, variant in VARIANTS.items():
            method = HIF(variant, solver=FEW, damping=damping)
            found[name] = edits.linear({"method": method, "parameters": "head"})
    return {
        "seconds_training": seconds,
        "accuracy": net.score(*rows.test),
        "accuracy_train": net.score(*rows.train),
        "methods": found,
    }


class Edits:
    """Edits of one network without each group of rows."""

    def __init__(self, net, rows, groups, timed=cpu_seconds):
        self._net, self._rows, self._groups, self._timed = net, rows, groups, timed
        self._start = weights(net)
        self._replaying = self._influence(method=GradDot()).fit(*rows.train)
        self._true = {}

    def plain(self, **how):
        """Edits that go through the training again, or through its end."""
        return {name: self._edit(self._replaying, name, **how) for name in self._groups}

    def linear(self, settings, n_groups=None):
        """Edits by the first order of a method; of the first groups, or of all."""
        influence = self._influence(**settings)
        try:
            _, seconds = self._timed(lambda: influence.fit(*self._rows.train))
            names = list(self._groups)[:n_groups]
            edits = {name: self._edit(influence, name, how="linear") for name in names}
        except REFUSALS as error:
            return {"refused": str(error)}
        damping = influence.attributions_[0].diagnostics.get("damping")
        return edits | {"seconds_fit": seconds, "damping": damping}

    def random(self, seed):
        """Changes of a random direction, each as long as that of training again."""
        rng = torch.Generator().manual_seed(seed)
        return {name: self._moved(name, rng) for name in self._groups}

    def _moved(self, name, rng):
        true = self._true[name]
        change = torch.randn(len(true), generator=rng, dtype=true.dtype)
        change *= true.norm() / change.norm()
        moved = copy.deepcopy(self._net)
        vector_to_parameters((self._start + change).float(), moved.module_.parameters())
        return {
            "seconds": 0.0,
            "accuracy": moved.score(*self._rows.test),
            "cosine": float(cosine_similarity(change, true, 0)),
            "length": float(change.norm()),
        }

    def _influence(self, **settings):
        validation = ValidationData(*self._rows.validation)
        model = FrozenEstimator(self._net)
        return SAMInfluence(model, validation=validation, random_state=0, **settings)

    def _edit(self, influence, name, **how):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            edited, seconds = self._timed(lambda: influence.remove(self._groups[name], **how))
        change = weights(edited) - self._start
        true = self._true.setdefault(name, change)  # training again comes first
        moved = change != 0
        return {
            "seconds": seconds,
            "accuracy": edited.score(*self._rows.test),
            "cosine": float(cosine_similarity(change[moved], true[moved], 0)),
            "length": float(change.norm()),
            "share_of_true_length": float(true[moved].norm() / true.norm()),
            "removed_loss_before": float(edited.edit_["removed_loss"]),
            "removed_loss": float(edited.edit_["removed_loss_after"]),
            "validation_loss": float(edited.edit_["validation_loss_after"]),
            "warned": [str(each.message) for each in said],
        }


def weights(net):
    return parameters_to_vector(net.module_.parameters()).detach().double()


def main():
    """Measure the networks that the JSON lacks."""
    size, names = asked(__doc__)
    warnings.simplefilter("ignore")
    cases = networks_named(names, {}, size)
    run_missing("papers_edits", size, cases, partial(one_network, size))


if __name__ == "__main__":
    main()
