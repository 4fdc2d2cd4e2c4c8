"""A model without some of its training rows, without training it again."""

import numpy as np
import pandas as pd
import torch

from sam_attribution.editing import edit_report, random_groups, state_after, verification
from sam_attribution.influence._estimator import with_net
from sam_attribution.training import edited_copy

_REASON = "SAMInfluence.remove edited the weights, so training did not lead to them"


def edited_estimator(run, rows, *, verify, seed):
    """The estimator of a run with weights as if some rows had not been there.

    Parameters
    ----------
    run : Run
        Whose method predicts the trained state.
    rows : ndarray of int
        Positions among the run's training rows.
    verify : int
        Random groups to train without, to compare.
    seed : int
        Draws them.
    """
    attribution = run.attribution
    problem, validation = attribution.problem, attribution.validation
    visited = torch.as_tensor(np.flatnonzero(run.visited), device=problem.y.device)
    groups = [torch.as_tensor(rows, device=problem.y.device)]
    groups += random_groups(visited, len(rows), verify, seed)
    step = attribution.prepared.removal_step(groups, verbose=attribution.verbose)
    params, buffers = state_after(problem, step, 0)
    edited = edited_copy(run.net, params, {n: buffers[n] for n in step.buffers}, _REASON)
    predicted = attribution.predicted_rise(groups[0])
    report = edit_report(validation, attribution.validation_outputs, step, predicted)
    edited.edit_ = pd.Series({"n_removed": len(rows)} | report)
    if verify:
        steps = type(step)(step.params[1:], {n: b[1:] for n, b in step.buffers.items()})
        edited.verification_ = verification(
            validation, groups[1:], steps, n_jobs=attribution.n_jobs, verbose=attribution.verbose
        )
    return with_net(run.estimator, edited)


def checked_removal(indices, run, y, classify):
    """Positions among the training rows of a run that `indices` into all rows stand for.

    Parameters
    ----------
    indices : array-like of int, or of bool with shape (n_samples,)
    run : Run
    y : ndarray of shape (n_samples,)
        Labels of all rows.
    classify : bool
        Whether the labels are classes.

    Raises
    ------
    TypeError
        If `indices` are neither integers nor booleans.
    ValueError
        If they are empty, out of range, repeated or rows that were not trained on, or leave
        nothing to train on, or nothing of a class.
    """
    rows = _positions(indices, len(y))
    trained = run.train[run.visited]
    if len(strangers := np.setdiff1d(rows, trained)):
        raise ValueError(
            f"indices holds rows that this model was not trained on, such as {strangers[0]} "
            "(held out to validate on): there is nothing to remove."
        )
    left = np.setdiff1d(trained, rows)
    if len(left) == 0:
        raise ValueError("indices are all rows that were trained on: nothing would be left.")
    if classify and len(gone := np.setdiff1d(y[trained], y[left])):
        raise ValueError(
            f"indices are all rows of class {gone.tolist()[0]!r}: an edit cannot forget a class. "
            "Train again without it."
        )
    return np.searchsorted(run.train, rows)


def check_can_remove(prepared, method):
    """Raise a ValueError for a method that says nothing about the weights."""
    if prepared.removal_step is None:
        raise ValueError(
            f"method={method!r} does not say what the weights would be without a row. Take one "
            'that does: "gif", "tracin", "hif", "hif-fast", "hif-paper", "if" or "unrolled".'
        )


def _positions(indices, n_samples):
    given = np.asarray(indices)
    if given.dtype == bool:
        if given.shape != (n_samples,):
            raise ValueError(
                f"indices as a mask must have shape ({n_samples},), one entry per row given to "
                f"fit, got {given.shape}."
            )
        given = np.flatnonzero(given)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(
            f"indices must name at least one row, as a list or mask, got shape {given.shape}."
        )
    if given.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers or booleans, got {given.dtype}.")
    if len(outside := given[(given < 0) | (given >= n_samples)]):
        raise ValueError(f"indices must be positions in 0..{n_samples - 1}, got {outside[0]}.")
    rows, counts = np.unique(given, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"indices holds row {rows[counts > 1][0]} more than once.")
    return rows
