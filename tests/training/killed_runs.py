"""What test_resume.py runs in processes of their own, to be killed."""

import numpy as np
import torch
import torch._dynamo  # imported by the first optimizer step: once here, not in every process
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import GIF

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 6)).astype("float32")
y = np.where(X[:, 0] > 0, "up", "down")
weight = rng.uniform(0.5, 1.5, size=60)


class Dropping(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2)
        )


class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 2))


ADAMW = {"optimizer": torch.optim.AdamW}
# what must be passed again to resume, and what is stored
RUNS = {
    "momentum": ({}, {"optimizer__momentum": 0.9, "optimizer__nesterov": True}),
    "adamw": (ADAMW, {"lr": 0.01}),
    "dropout, batch norm": ({"module": Dropping}, {"optimizer__momentum": 0.9}),
    "step rates": (
        {
            "module": Plain,
            "callbacks": [
                LRScheduler("StepLR", step_size=7, gamma=0.7, step_every="batch"),
                GradientNormClipping(0.5),
            ],
        },
        {},
    ),
    "plateau, adamw": (
        {
            "module": Dropping,
            "callbacks": [LRScheduler("ReduceLROnPlateau", monitor="train_loss", patience=0)],
            **ADAMW,
        },
        {"lr": 0.03, "perturbation": "adaptive", "rho": 0.3},
    ),
}


def train(run, folder, result):
    torch.set_num_threads(1)
    objects, numbers = RUNS[run]
    clf = SAMClassifier(
        **objects,
        **numbers,
        trajectory=4,
        trajectory_dir=folder,
        max_epochs=12,
        batch_size=10,
        random_state=0,
    )
    write(result, clf.fit(X, y, sample_weight=weight))


def take_up(run, folder, result):
    torch.set_num_threads(1)
    write(result, SAMClassifier.resume(folder, X, y, sample_weight=weight, **RUNS[run][0]))


def write(result, clf):
    """Everything that must be the same whether the run was killed or not."""
    recorded = clf.trajectory_
    np.savez(
        result,
        weights=weights(clf.module_.state_dict()),
        states=np.stack([state.params.numpy() for state in recorded.states]),
        steps=[state.step for state in recorded.states],
        stretches=[(s.first, s.middle, s.last) for s in recorded.stretches],
        indices=np.stack([step.indices for step in recorded.schedule]),
        numbers=[(*s.rates, s.perturbation_norm, s.rho) for s in recorded.schedule],
        train_loss=clf.history[:, "train_loss"],
        scores=scores(clf),
    )


def weights(tensors):
    return np.concatenate([tensor.double().numpy().ravel() for tensor in tensors.values()])


def scores(clf):
    influence = SAMInfluence(
        FrozenEstimator(clf),
        method=GIF(n_checkpoints=3),  # not the states that were kept: replay is part of it
        validation=ValidationData(X[:20], y[:20]),
    )
    return influence.fit(X, y, sample_weight=weight).scores_
