"""The tangent of recorded training: where it leads with other row weights, to first order."""

from tqdm.auto import tqdm

from sam_attribution.dynamics import Tangent
from sam_attribution.methods._step_checks import check_finite, check_same


def tangent_sweep(training, groups, recorded, *, verbose=0):
    """How the final state moves when groups of rows go, forwards through the steps.

    Parameters
    ----------
    training : FunctionalTraining
    groups : list of Tensor of positions
    recorded : iterable of State
        States of training to go on from, in its order, the first one being its start.
    verbose : int, default=0
        Above 0 shows a progress bar over the steps.

    Returns
    -------
    Tangent
        Of the state after the last step.

    Raises
    ------
    ValueError
        If the steps do not lead where training went, or the tangent overflows.

    Notes
    -----
    One state and one tangent per group are held. The steps compute the states as they go, so
    nothing is replayed.
    """
    recorded = {state.step: state for state in recorded}
    state = before = training.state(recorded[0])
    tangent = _zero(state, training.tracked, len(groups))
    changes = _weight_changes(training.problem, groups)
    steps, since = range(training.n_steps), 0
    for number in tqdm(steps, desc="removal", unit="step", leave=False, disable=not verbose):
        step = training.step(number)
        state, tangent = step.jvp(state, tangent, changes[:, step.batch.rows])
        check_finite(f"after step {number}", tangent.params)
        if number + 1 in recorded:
            met = training.state(recorded[number + 1])
            names = f"the steps {since} to {number}"
            check_same(names, state, met, before, training.tracked)
            state = before = met
            since = number + 1
    return tangent


def _weight_changes(problem, groups):
    """-1 for the rows of each group, 0 for the others, shape (n_groups, n_samples)."""
    changes = problem.params.new_zeros(len(groups), len(problem.y))
    for change, rows in zip(changes, groups, strict=True):
        change[rows] = -1.0
    return changes


def _zero(state, tracked, k):
    def zeros(value):
        return value.new_zeros(k, *value.shape)

    return Tangent(
        zeros(state.params),
        {name: zeros(state.buffers[name]) for name in sorted(tracked)},
        tuple(zeros(m) if m.ndim else None for m in state.memory),
    )
