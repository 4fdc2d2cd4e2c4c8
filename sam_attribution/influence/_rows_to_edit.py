"""Checks of the rows that an edit is asked for."""

import numpy as np


def positions_of(indices, n_samples):
    """Positions that `indices` into the rows of ``fit`` stand for, a list or a mask.

    Raises a TypeError or ValueError for what is neither, or names a row twice.
    """
    given = np.asarray(indices)
    if given.dtype == bool:
        given = given[:, 0] if given.shape == (n_samples, 1) else given
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
    return given


def checked_removal(indices, trained, y, earlier):
    """Positions among the rows of a split's problem that `indices` into all rows stand for.

    `earlier` are the ``Edits`` that the model has already. Raises a TypeError or ValueError for
    `indices` that are no positions, or repeated, or not trained on, or that leave nothing to train
    on, or nothing of a class.
    """
    rows = np.sort(positions_of(indices, len(y)))
    visited, y = _after(earlier, trained, y)
    _check_trained_on(rows, trained, visited, "remove")
    left = np.setdiff1d(visited, rows)
    if len(left) == 0:
        raise ValueError("indices must leave rows to train on, got all of them.")
    _check_classes(trained, y[visited], y[left], "indices are all rows of")
    return np.searchsorted(trained.split.train, rows)


def checked_relabelling(indices, labels, trained, y, targets, earlier):
    """Positions in a split's problem, and a label for each, as an array.

    Raises a TypeError or ValueError for `indices` as :func:`checked_removal`, and for `labels` that
    are not one for each of them, or that the `targets` of the estimator do not know.
    """
    rows = positions_of(indices, len(y))
    visited, y = _after(earlier, trained, y)
    _check_trained_on(rows, trained, visited, "relabel")
    labels = np.asarray(targets.given(labels))
    if labels.shape != y[rows].shape:
        raise ValueError(
            "labels must hold a label (or target) for each of the rows of indices, in the form of "
            f"y, shape {y[rows].shape}, got {labels.shape}."
        )
    targets.check(labels, "labels")
    left = np.concatenate([y[np.setdiff1d(visited, rows)], labels])
    _check_classes(trained, y[visited], left, "labels leave no row in")
    return np.searchsorted(trained.split.train, rows), labels


def _after(earlier, trained, y):
    """Positions of the rows that are still trained on after ``Edits``, and the labels of all."""
    visited = np.setdiff1d(trained.trained_rows, trained.split.train[[*earlier.removed]])
    if earlier.relabelled:
        labels = np.asarray([*earlier.labels])
        y = y.astype(np.result_type(y, labels))  # a copy, with room for longer strings
        y[trained.split.train[[*earlier.relabelled]]] = labels
    return visited, y


def _check_classes(trained, before, left, what):
    """Raise a ValueError if labels `before` an edit have a class that those `left` do not have."""
    classify = trained.problem.n_classes is not None
    if classify and len(gone := np.setdiff1d(before, left)):
        raise ValueError(
            f"{what} class {gone.tolist()[0]!r}: an edit cannot remove a class. Train again "
            "without it."
        )


def _check_trained_on(rows, trained, visited, what):
    if len(strangers := np.setdiff1d(rows, trained.trained_rows)):
        raise ValueError(
            f"indices holds rows that this model was not trained on, such as {strangers[0]} "
            f"(held out for validation): there is nothing to {what}."
        )
    if len(gone := np.setdiff1d(rows, visited)):
        raise ValueError(
            f"indices holds rows that were removed before, such as {gone[0]}: there is nothing to "
            f"{what}."
        )
