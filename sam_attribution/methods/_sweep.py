"""The reverse sweep: from the last training step to the first, the probes of each."""

from itertools import pairwise

from sam_attribution.methods._step_checks import check_finite, check_same
from sam_attribution.probes import StepProbe


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
        check_same(f"step {number}", product.after, after, before, training.tracked)
        cotangent = product.before
        check_finite(f"before step {number}", cotangent.params)
        for sensitivity in product.sensitivities:
            yield _probe(number, step.batch, sensitivity, before.buffers)


def _probe(number, batch, sensitivity, buffers):
    # the derivative is in a row's weight, the score is of its removal
    return StepProbe(
        point=sensitivity.point,
        directions=-sensitivity.directions.T,
        buffers=buffers,
        rows=batch.rows,
        rows_weight=batch.weight,
        steps=(number, number + 1),
        output=sensitivity.output,
        tangents=-sensitivity.tangents.movedim(0, -1),
    )
