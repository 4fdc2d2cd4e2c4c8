"""The reverse sweep: from the last training step to the first, the probes of each."""

from itertools import pairwise

import torch

from sam_attribution.probes import StepProbe

_TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-6}


class UnstableTraining(ValueError):
    """The derivative through training overflows."""


def reverse_sweep(training, states, cotangent_at):
    """Pull the queries back through a training.

    Parameters
    ----------
    training : FunctionalTraining
    states : iterable of dynamics.TrainingState
        All of them, the last one first.
    cotangent_at : callable
        Gradients of the queries at the last state, a ``dynamics.Cotangent``.

    Yields
    ------
    StepProbe
        Of every step, the last one first, each for the rows of its batch.

    Raises
    ------
    ValueError
        If a step does not lead where the states say, or a derivative is not finite.
    """
    numbers = reversed(range(training.n_steps))
    cotangent = None
    for number, (after, before) in zip(numbers, pairwise(states), strict=True):
        if cotangent is None:
            cotangent = cotangent_at(after)
        step = training.step(number)
        product = step.vjp(before, cotangent)
        _check_same(number, product.after, after, before)
        cotangent = product.before
        _check_finite(number, cotangent)
        for reading in product.readings:
            yield _probe(number, step.batch, reading, before.buffers)


def _probe(number, batch, reading, buffers):
    # the derivative is in a row's weight, the score is of its removal
    return StepProbe(
        point=reading.point,
        directions=-reading.directions.T,
        buffers=buffers,
        rows=batch.rows,
        rows_weight=batch.weight,
        steps=(number, number + 1),
        output=reading.output,
        tangents=-reading.tangents.movedim(0, -1),
    )


def _check_same(number, computed, recorded, before):
    """Raise if the pure step does not lead where training went."""
    off = (computed.params - recorded.params).norm()
    moved = (recorded.params - before.params).norm()
    if off > _TOLERANCE[off.dtype] * moved + 1e-5 * recorded.params.norm():
        raise ValueError(
            f"the step as a function ends {off:.1e} away from where step {number} of training "
            "went: something changed the step that is not known here (mixed precision, a callback "
            'or a custom train_step). Take a method such as "gif" or "hif".'
        )


def _check_finite(number, cotangent):
    if not torch.isfinite(cotangent.params).all():
        raise UnstableTraining(
            f"the derivative is not finite before step {number}: the training is unstable there. "
            'Train with a smaller lr, or try Unrolled(precision="float64").'
        )
