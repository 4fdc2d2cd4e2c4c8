"""Training with SAM: nets that keep scikit-learn's contract and record what they do."""

from sam_attribution.training._classifier import SAMClassifier
from sam_attribution.training._losses import loss_per_sample, unreduced
from sam_attribution.training._mixin import SAMMixin
from sam_attribution.training._mlp import MLP
from sam_attribution.training._net import ConformantNet
from sam_attribution.training._recording import RecordingMixin
from sam_attribution.training._schedule import ScheduledBatches, batch_schedule
from sam_attribution.training._trajectory import State, Step, Stretch, Trajectory, equal_stretches

__all__ = [
    "MLP",
    "ConformantNet",
    "RecordingMixin",
    "SAMClassifier",
    "SAMMixin",
    "ScheduledBatches",
    "State",
    "Step",
    "Stretch",
    "Trajectory",
    "batch_schedule",
    "equal_stretches",
    "loss_per_sample",
    "unreduced",
]
