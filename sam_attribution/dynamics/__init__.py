"""One training step as a pure function. Tensors and a loss, nothing of skorch."""

from sam_attribution.dynamics._no_functional_form import NoFunctionalForm
from sam_attribution.dynamics._optimizer import SGD, Adam, NormClipping
from sam_attribution.dynamics._parts import BatchPart, SplitBatch, parts_of
from sam_attribution.dynamics._reverse import Cotangent, step_vjp
from sam_attribution.dynamics._second_derivative import (
    OnceDifferentiable,
    check_differentiable_again,
    missing_derivatives_named,
)
from sam_attribution.dynamics._step import TrainingState, sam_gradient, training_step
from sam_attribution.dynamics._tangent import Tangent, step_jvp

__all__ = [
    "SGD",
    "Adam",
    "Tangent",
]
