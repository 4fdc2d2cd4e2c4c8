"""How many of the labels are wrong."""

from math import inf

import torch

from sam_attribution.detection._accounts import label_counts, rounds
from sam_attribution.detection._probabilities import (
    best_sharpness,
    log_likelihood,
    log_posterior,
    log_probabilities,
)
from sam_attribution.detection._transition import transition_matrix

_N_ROUNDS_CORRECTED, _N_ROUNDS_GIVEN = 3, 20
_SHARES = (0.001, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


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
    trained = classes.mean_scores(account.membership, n_early)
    held_out = classes.mean_held_out_scores(account.membership, n_early)
    sharpness = _sharpness_by_held_out(held_out[None], account.log_prior, y_held_out)
    log_p = log_probabilities(trained[None], account.log_prior, sharpness)
    transition = _uniform(len(account.log_prior), 0.1)
    for _ in range(_N_ROUNDS_GIVEN):
        membership = log_posterior(log_p, y, transition).exp()
        transition = transition_matrix(label_counts(membership, y, weights))
    return _share(membership, y, weights), transition


def _sharpness_by_held_out(scores, log_prior, y):
    """The sharpness of the most likely pair of a sharpness and a share of wrong labels."""
    best = -inf, 1.0
    for share in _SHARES:
        transition = _uniform(len(log_prior), share)
        sharpness = best_sharpness(scores, log_prior, y, transition)
        log_p = log_probabilities(scores, log_prior, sharpness)
        best = max(best, (float(log_likelihood(log_p, y, transition).sum()), sharpness))
    return best[1]


def _uniform(n_classes, share):
    """A share of every class has any of the other labels."""
    wrong = torch.full((n_classes, n_classes), share / (n_classes - 1))
    return wrong.fill_diagonal_(1 - share)


def _share(membership, y, weights):
    return 1 - float(weights @ membership.gather(1, y[:, None])[:, 0] / weights.sum())
