"""What a sweep through training asks of every step."""

import torch

_TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-6}


class UnstableTraining(ValueError):
    """The derivative through training overflows."""


def check_same(steps, computed, recorded, before):
    """Raise a ValueError if the pure steps, such as "step 3", do not lead where training went."""
    off = (computed.params - recorded.params).norm()
    moved = (recorded.params - before.params).norm()
    if off > _TOLERANCE[off.dtype] * moved + 1e-5 * recorded.params.norm():
        raise ValueError(
            f"the step as a function ends {off:.1e} away from where {steps} of training "
            "went: something changed the step that is not known here (mixed precision, a callback "
            'or a custom train_step). Take a method such as "gif" or "hif".'
        )


def check_finite(where, derivative):
    """Raise UnstableTraining if a derivative with respect to the parameters overflowed."""
    if not torch.isfinite(derivative).all():
        raise UnstableTraining(
            f"the derivative is not finite {where}: the training is unstable there. "
            'Train with a smaller lr, or try Unrolled(precision="float64").'
        )
