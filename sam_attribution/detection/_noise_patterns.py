"""Patterns of wrong labels: from a noise rate, or from counts, to a transition matrix."""

import numpy as np
import torch

from sam_attribution.detection._transition import transition_matrix

_MOST_WRONG = 0.9  # of a class
_LEAST_RATE = 1e-4


def scaled(pattern):
    """Return a function from a noise rate to a transition matrix of a pattern.

    Parameters
    ----------
    pattern : ndarray of shape (n_classes, n_classes)
        Off the diagonal of the matrix, per unit of the rate. At most nine tenths of a class are
        wrong.
    """

    def transition(rate):
        wrong = max(rate, _LEAST_RATE) * pattern
        wrong = wrong * np.minimum(1, _MOST_WRONG / np.maximum(wrong.sum(1), 1e-12))[:, None]
        return wrong + np.diag(1 - wrong.sum(1))

    return transition


def symmetric_pattern(given):
    """Pattern (n_classes, n_classes) of wrong labels that are all as likely.

    Parameters
    ----------
    given : ndarray of bool, shape (n_classes,)
        False for classes that no row has as a label: no label is wrong by being one of these.
    """
    pattern = (1 - np.eye(len(given))) * given
    return pattern / np.maximum(pattern.sum(1, keepdims=True), 1)


def one_sided(z, labelled):
    """Return a function from a noise rate to a transition matrix of two classes.

    Parameters
    ----------
    z : int
        Only labels of this class are wrong.
    labelled : float
        Share of the rows that have this label.
    """

    def transition(rate):
        matrix = np.eye(2)
        wrong = min(max(rate, _LEAST_RATE) / (labelled + rate), _MOST_WRONG)
        matrix[z] = [1 - wrong, wrong] if z == 0 else [wrong, 1 - wrong]
        return matrix

    return transition


def only(confused):
    """Return a function from counts to a transition matrix in which only some pairs are confused.

    Parameters
    ----------
    confused : ndarray of bool, shape (n_classes, n_classes)
        Pairs of a class (first axis) and a label that it may be given.
    """

    def transition(counts):
        rates = (counts + 0.5) / (counts.sum(1, keepdims=True) + 1)
        return scaled(np.where(confused, rates, 0))(1)

    return transition


def shrunk(counts):
    """Transition matrix of counts, with rates that are shrunk towards one another."""
    return transition_matrix(torch.as_tensor(counts)).numpy()
