"""What a sweep through training asks of every step."""

import torch

_TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-6}


class UnstableTraining(ValueError):
    """The derivative through training overflows."""


def check_same(steps, computed, recorded, before, tracked=()):
    """Raise a ValueError if the pure steps do not lead where training went.

    `steps` says which, such as "step 3". The states hold parameters, and in their buffers those of
    the `tracked` names.
    """
    for name in (None, *tracked):
        found, met, was = (_part(state, name) for state in (computed, recorded, before))
        off, moved, scale = (found - met).norm(), (met - was).norm(), met.norm()
        # float32 steps on a CPU are within 1 eps of ||w|| of each other, plus 1e-5 of their length
        slack = 10 * torch.finfo(met.dtype).eps * scale
        if not off <= _TOLERANCE[met.dtype] * moved + slack:  # NaN is no less than anything
            raise ValueError(
                f"the step as a function ends {off:.1e} away from where {steps} of training "
                f"took {name or 'the weights'}: something changed the step that is not known here "
                "(mixed precision, a callback or a custom train_step). Take a method such as "
                '"gif" or "hif".'
            )


def _part(state, name):
    return state.params if name is None else state.buffers[name]


def check_finite(where, derivative):
    """Raise UnstableTraining if a derivative with respect to the parameters overflowed."""
    if not torch.isfinite(derivative).all():
        raise UnstableTraining(
            f"the derivative is not finite {where}: the training is unstable there. "
            'Train with a smaller lr, or try Unrolled(precision="float64").'
        )
