"""How many of the labels are wrong."""

import numpy as np

from sam_attribution.detection._accounts import label_counts, rounds
from sam_attribution.detection._probabilities import (
    best_sharpness,
    log_likelihood,
    log_posterior,
    log_probabilities,
)
from sam_attribution.detection._transition import transition_matrix

_N_ROUNDS_CORRECTED, _N_ROUNDS_GIVEN = 3, 30
_SHARES = np.linspace(0, 0.9, 19)


def wrong_share_corrected(classes, y, weights, account, n_early):
    """Share of wrong labels, and their transition, by the corrected account at early states.

    Later on the network has learnt wrong labels by heart, and they look right.
    """
    membership, transition = rounds(
        classes, y, weights, account.membership, account.transition, _N_ROUNDS_CORRECTED, n_early
    )
    return _share(membership, y, weights), transition


def wrong_share_at_word(classes, y, weights, account, y_held_out, n_early):
    """Share of wrong labels, and their transition, if classes look as labelled.

    The held-out rows, of which the network learnt nothing, tell how sharply classes can be told
    apart at the early states; the transition that suits the rows trained on follows.
    """
    trained, held_out = classes.mean_scores(account.membership, n_early)
    sharpness = _sharpness_by_held_out(held_out[None], account.log_prior, y_held_out)
    log_p = log_probabilities(trained[None], account.log_prior, sharpness)
    transition = _uniform(len(account.log_prior), 0.1)
    for _ in range(_N_ROUNDS_GIVEN):
        membership = np.exp(log_posterior(log_p, y, transition))
        transition = transition_matrix(label_counts(membership, y, weights))
    return _share(membership, y, weights), transition


def _sharpness_by_held_out(scores, log_prior, y):
    """The sharpness of the most likely pair of a sharpness and a share of wrong labels."""
    best = -np.inf, 1.0
    for share in _SHARES:
        transition = _uniform(len(log_prior), max(share, 0.001))
        sharpness = best_sharpness(scores, log_prior, y, transition)
        log_p = log_probabilities(scores, log_prior, sharpness)
        best = max(best, (log_likelihood(log_p, y, transition).sum(), sharpness))
    return best[1]


def _uniform(n_classes, share):
    """A share of every class has any of the other labels."""
    wrong = np.full((n_classes, n_classes), share / (n_classes - 1))
    np.fill_diagonal(wrong, 1 - share)
    return wrong


def _share(membership, y, weights):
    return 1 - np.average(membership[np.arange(len(y)), y], weights=weights)
