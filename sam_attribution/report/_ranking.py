"""The order of the rows, their ranks by each part, and the labels that fit them best."""

import numpy as np

MOST_LABELS = 3


def by_suspicion(scores):
    """Rows from the lowest score to the highest, ties as they stand, NaN last."""
    return np.argsort(scores, kind="stable")


def ranks(values):
    """1 for the lowest, ties share the lower rank, 0 for NaN; int32."""
    judged = ~np.isnan(values)
    found = np.zeros(len(values), dtype=np.int32)
    found[judged] = 1 + np.searchsorted(np.sort(values[judged]), values[judged])
    return found


def best_labels(what_if, given):
    """Codes and values of each row's best labels and of the given one, best first.

    Both arrays have shape (n, MOST_LABELS + 1); code -1 fills up what a row does not need. `given`
    is -1 where the given label is no column.
    """
    n, n_classes = what_if.shape
    order = np.argsort(-what_if, axis=1, kind="stable")[:, : MOST_LABELS + 1]
    codes = np.full((n, MOST_LABELS + 1), -1, dtype=np.int32)
    best = order[:, :MOST_LABELS]
    codes[:, : best.shape[1]] = best
    is_missing = (given >= 0) & (best != given[:, None]).all(axis=1)
    codes[is_missing, MOST_LABELS] = given[is_missing]
    values = np.take_along_axis(what_if, codes.clip(0, n_classes - 1), axis=1)
    codes[np.isnan(values)] = -1
    return codes, values


def without_logarithm(what_if):
    """Log-probabilities as probabilities; other values as they are."""
    with np.errstate(over="ignore"):
        powers = np.exp(what_if)
    return powers if are_probabilities(powers) else what_if


def are_probabilities(what_if):
    """Whether each row is non-negative and sums to one (rows of NaN aside)."""
    judged = what_if[~np.isnan(what_if).any(axis=1)]
    return bool(len(judged) and (judged >= 0).all() and np.allclose(judged.sum(axis=1), 1))
