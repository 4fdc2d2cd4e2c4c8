"""One training step as a pure function. Tensors and a loss, nothing of skorch."""

from sam_attribution.dynamics._sam import Ascent, BatchLoss, Buffers, sam_gradient
from sam_attribution.dynamics._sgd import SGD
from sam_attribution.dynamics._step import TrainingState, training_step

__all__ = [
    "SGD",
    "Ascent",
    "BatchLoss",
    "Buffers",
    "TrainingState",
    "sam_gradient",
    "training_step",
]
