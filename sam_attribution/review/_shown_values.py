"""Numbers of the page: ranks of the rows, probabilities, best labels of a row."""

import numpy as np

MOST_LABELS = 3


def ranks(values):
    """Return 1 for the lowest value and so on, 0 for NaN; ties share the lower rank; int32."""
    judged = ~np.isnan(values)
    found = np.zeros(len(values), dtype=np.int32)
    found[judged] = 1 + np.searchsorted(np.sort(values[judged]), values[judged])
    return found


def best_labels(label_scores, given):
    """Return codes and values of each row's best labels and of the given one, best first.

    Both arrays have shape (n, MOST_LABELS + 1); code -1 fills up what a row does not need. `given`
    is -1 where the given label is no column.
    """
    n, n_classes = label_scores.shape
    order = np.argsort(-label_scores, axis=1, kind="stable")[:, : MOST_LABELS + 1]
    codes = np.full((n, MOST_LABELS + 1), -1, dtype=np.int32)
    best = order[:, :MOST_LABELS]
    codes[:, : best.shape[1]] = best
    is_missing = (given >= 0) & (best != given[:, None]).all(axis=1)
    codes[is_missing, MOST_LABELS] = given[is_missing]
    values = np.take_along_axis(label_scores, codes.clip(0, n_classes - 1), axis=1)
    codes[np.isnan(values)] = -1
    return codes, values


def without_logarithm(label_scores):
    """Return log-probabilities as probabilities, and other values as they are."""
    with np.errstate(over="ignore"):
        powers = np.exp(label_scores)
    return powers if are_probabilities(powers) else label_scores


def are_probabilities(label_scores):
    """Return True if each row is non-negative and sums to one (rows of NaN aside)."""
    judged = label_scores[~np.isnan(label_scores).any(axis=1)]
    return bool(len(judged) and (judged >= 0).all() and np.allclose(judged.sum(axis=1), 1))
