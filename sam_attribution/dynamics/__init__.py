"""One training step as a pure function. Tensors and a loss, nothing of skorch."""

from sam_attribution.dynamics._adam import Adam
from sam_attribution.dynamics._clipping import NormClipping
from sam_attribution.dynamics._gradient_pass import Reading
from sam_attribution.dynamics._optimizer import Memory, Optimizer
from sam_attribution.dynamics._reverse import Cotangent, StepProduct, step_vjp
from sam_attribution.dynamics._sam import Ascent, BatchLoss, Buffers, sam_gradient
from sam_attribution.dynamics._sgd import SGD
from sam_attribution.dynamics._step import TrainingState, training_step
from sam_attribution.dynamics._tangent import Tangent, step_jvp

__all__ = [
    "SGD",
    "Adam",
    "Ascent",
    "BatchLoss",
    "Buffers",
    "Cotangent",
    "Memory",
    "NormClipping",
    "Optimizer",
    "Reading",
    "StepProduct",
    "Tangent",
    "TrainingState",
    "sam_gradient",
    "step_jvp",
    "step_vjp",
    "training_step",
]
