"""Check that torch's second derivative is that of the gradient which training follows."""

from weakref import WeakSet

import torch
from torch import nn

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution.curvature._hessian import Hessian

_N_ROWS = 2
_NEAR = 0.03  # of the weights: where biases are 0 every unit may stand at its kink
_STEPS = (1e-6, 1e-7, 1e-8, 1e-8)  # of the weights; a kink between is less likely at small ones
_TOLERANCE = 1e-3
_ROUNDING = 1e-4  # of the gradient
_CHECKED: WeakSet[nn.Module] = WeakSet()


def check_second_derivative(problem):
    """Raise a ValueError for a module or criterion whose second derivative is not its gradient's.

    A part is then constant to torch, though it depends on the weights; or there is no second
    derivative. Two rows, in float64: a product with the Hessian against a difference of gradients.
    Where they differ it tries again, with other directions and smaller steps, since a kink (of
    ReLU) may lie between. Nothing for a module that was checked before, or knows no float64.
    """
    if problem.module in _CHECKED:
        return
    twin = _twin(problem)
    if twin is not None and not any(_agree(twin, *each) for each in enumerate(_STEPS)):
        raise ValueError(
            f"torch has a wrong second derivative of module {type(problem.module).__name__} with "
            f"{_name_of_loss(problem)}: detach, .data or no_grad hides a part that depends on "
            'the weights. Methods with curvature, and "unrolled", would give wrong scores. '
            'Remove that, or use a method such as "gif" or "loo".'
        )
    _CHECKED.add(problem.module)


def _twin(problem):
    """The problem of two rows in float64, None if it does not run."""
    rows = torch.arange(min(_N_ROWS, len(problem.y)), device=problem.y.device)
    try:
        twin = problem.part(rows).in_double_precision()
        twin.mean_gradient(twin.params, twin.buffers)
    except OUT_OF_MEMORY:
        raise
    except Exception:  # of the user's module, which may raise anything
        return None
    return twin


def _agree(twin, seed, step):
    """True if product and difference agree along a random direction, or are not finite."""
    generator = torch.Generator().manual_seed(seed)
    size = twin.params.square().mean().sqrt()
    near, along = (size * _noise(twin.params, generator) for _ in range(2))
    point = twin.params + _NEAR * near
    # what has no gradient is not trained: the padding of an embedding counts, yet stays
    along = along * (twin.mean_gradient(point, twin.buffers) != 0)
    product = Hessian(twin, point).matvec(along)
    ahead, behind = (
        twin.mean_gradient(point + sign * step * along, twin.buffers) for sign in (1, -1)
    )
    difference = (ahead - behind) / (2 * step)
    distance = (product - difference).norm()
    allowed = _TOLERANCE * difference.norm() + _ROUNDING * ahead.norm()
    return not distance.isfinite() or bool(distance <= allowed)


def _noise(like, generator):
    return torch.randn(len(like), generator=generator, dtype=torch.float64).to(like.device)


def _name_of_loss(problem):
    criterion = getattr(problem.row_loss, "criterion", None)
    return "its criterion" if criterion is None else f"criterion {type(criterion).__name__}"
