"""Two accounts of how the given labels came about: taken at their word, or corrected."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sam_attribution.detection._probabilities import (
    almost_identity,
    best_sharpness,
    log_likelihood,
    log_posterior,
    log_probabilities,
)
from sam_attribution.detection._transition import transition_matrix

_N_ROUNDS = 8
_SETTLED = 0.002


@dataclass(frozen=True, eq=False)
class Account:
    """What the classes are taken to be, and how they are taken to be labelled.

    Attributes
    ----------
    membership : Tensor of shape (n, n_classes)
        How much each row counts as one of each class.
    transition : Tensor of shape (n_classes, n_classes)
        Probability of each given label, per true class.
    log_p : Tensor of shape (n, n_classes)
        Log-probability of the true class of the rows trained on, their own labels apart.
    held_out_scores : Tensor of shape (n_states, m, n_classes)
    log_prior : Tensor of shape (n_classes,)
    sharpness : float
    """

    membership: Tensor
    transition: Tensor
    log_p: Tensor
    held_out_scores: Tensor
    log_prior: Tensor
    sharpness: float

    @property
    def held_out_log_p(self):
        """As `log_p`, of the held-out rows."""
        return log_probabilities(self.held_out_scores, self.log_prior, self.sharpness)

    def held_out_likelihood(self, y, transition):
        """Log-likelihood (m,) of labels of the held-out rows, at the sharpness that suits them."""
        sharpness = best_sharpness(self.held_out_scores, self.log_prior, y, transition)
        log_p = log_probabilities(self.held_out_scores, self.log_prior, sharpness)
        return log_likelihood(log_p, y, transition)


def at_their_word(classes, y, weights, n_classes):
    """Every row counts as one of the class that it was given.

    Parameters
    ----------
    classes : ClassModel
    y : Tensor of int64, shape (n,)
        Codes.
    weights : Tensor of shape (n,)
    n_classes : int
        Of those that the network tells apart; some may have no row.

    Returns
    -------
    Account
        Its transition prefers no label.
    """
    return _account(classes, torch.eye(n_classes)[y], almost_identity(n_classes), y, weights)


def corrected(classes, y, weights, start):
    """Rows count as what they are likely to be, and so on (expectation maximisation).

    Parameters
    ----------
    classes, y, weights : as for :func:`at_their_word`
    start : Account
        The labels at their word.

    Returns
    -------
    Account
    """
    transition = transition_matrix(_confident_joint(start.log_p, y))
    membership = log_posterior(start.log_p, y, transition).exp()
    membership, transition = rounds(classes, y, weights, membership, transition, _N_ROUNDS)
    return _account(classes, membership, transition, y, weights)


def rounds(classes, y, weights, membership, transition, n_rounds, n_states=None):
    """Expectation maximisation on the mean scores of the first `n_states` states.

    At most `n_rounds`, fewer if no rate of the transition moves by .002.
    """
    for _ in range(n_rounds):
        scores = classes.mean_scores(membership, n_states)[None]
        log_prior = _log_prior(membership, weights)
        sharpness = best_sharpness(scores, log_prior, y, transition, weights)
        log_p = log_probabilities(scores, log_prior, sharpness)
        membership = log_posterior(log_p, y, transition).exp()
        before, transition = transition, transition_matrix(label_counts(membership, y, weights))
        if (transition - before).abs().max() < _SETTLED:
            break
    return membership, transition


def label_counts(membership, y, weights):
    """Weight of the rows of each class (first axis) that were given each label."""
    weighted = membership * weights[:, None]
    return torch.zeros(membership.shape[1:] * 2).index_add_(0, y, weighted).T


def _account(classes, membership, transition, y, weights):
    trained, held_out = (torch.stack(s) for s in zip(*classes.each_state(membership), strict=True))
    log_prior = _log_prior(membership, weights)
    sharpness = best_sharpness(trained, log_prior, y, transition, weights)
    log_p = log_probabilities(trained, log_prior, sharpness)
    return Account(membership, transition, log_p, held_out, log_prior, sharpness)


def _confident_joint(log_p, y):
    """How often each most probable class was given each label; one row more on the diagonal."""
    counted = label_counts(torch.eye(log_p.shape[1])[log_p.argmax(1)], y, torch.ones(len(y)))
    return counted + torch.eye(log_p.shape[1])


def _log_prior(membership, weights):
    return (weights @ membership / weights.sum()).clamp_min(1e-9).log()
