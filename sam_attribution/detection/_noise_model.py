"""Noise models of the given labels, fitted as given or by EM, and the noise rates they imply."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sam_attribution.detection._probabilities import (
    almost_identity,
    best_inverse_temperature,
    log_likelihood,
    log_posterior,
    log_probabilities,
)
from sam_attribution.detection._transition import transition_matrix

_N_EM_STEPS = 8
_CONVERGED = 0.002


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Estimated classes of the rows, and a model of how their labels were given.

    Attributes
    ----------
    responsibilities : Tensor of shape (n, n_classes)
        Probability of each class, for the rows trained on.
    transition : Tensor of shape (n_classes, n_classes)
        Probability of each given label, per true class.
    log_p : Tensor of shape (n, n_classes)
        Log-probability of the true class of the rows trained on, without their own labels.
    held_out_scores : Tensor of shape (n_states, m, n_classes)
        Scores of the class model for the held-out rows.
    log_class_prior : Tensor of shape (n_classes,)
    inverse_temperature : float
        Factor of the class scores in the softmax.
    """

    responsibilities: Tensor
    transition: Tensor
    log_p: Tensor
    held_out_scores: Tensor
    log_class_prior: Tensor
    inverse_temperature: float

    @property
    def held_out_log_p(self):
        """Log-probability (m, n_classes) of the true class of the held-out rows."""
        return log_probabilities(
            self.held_out_scores, self.log_class_prior, self.inverse_temperature
        )

    def held_out_likelihood(self, y, transition):
        """Log-likelihood (m,) of held-out labels, at their own best inverse temperature."""
        best = best_inverse_temperature(self.held_out_scores, self.log_class_prior, y, transition)
        log_p = log_probabilities(self.held_out_scores, self.log_class_prior, best)
        return log_likelihood(log_p, y, transition)


def fit_as_given(class_model, y, weights, n_classes):
    """Fit the classes to the labels as given.

    Parameters
    ----------
    class_model : ClassModel
    y : Tensor of int64, shape (n,)
        Codes.
    weights : Tensor of shape (n,)
    n_classes : int
        Classes that the network tells apart; some may have no row.

    Returns
    -------
    NoiseModel
        Its transition matrix is almost the identity.
    """
    transition = almost_identity(n_classes)
    given = torch.eye(n_classes, dtype=weights.dtype)[y]
    return _noise_model(class_model, given, transition, y, weights)


def fit_by_em(class_model, y, weights, start):
    """Fit the classes to the labels that are likely to be true, by expectation maximisation.

    Parameters
    ----------
    class_model, y, weights : as for :func:`fit_as_given`
    start : NoiseModel
        Fitted as given.

    Returns
    -------
    NoiseModel
    """
    transition = transition_matrix(_confident_joint(start.log_p, y))
    responsibilities = log_posterior(start.log_p, y, transition).exp()
    fitted = em_steps(class_model, y, weights, responsibilities, transition, _N_EM_STEPS)
    return _noise_model(class_model, *fitted, y, weights)


def em_steps(class_model, y, weights, responsibilities, transition, n_steps):
    """Run expectation maximisation on the mean class scores.

    It stops after `n_steps` steps, or once no rate of the transition moves by 0.002.
    """
    for _ in range(n_steps):
        scores = class_model.mean_scores(responsibilities)[None]
        log_class_prior = _log_class_prior(responsibilities, weights)
        best = best_inverse_temperature(scores, log_class_prior, y, transition, weights)
        log_p = log_probabilities(scores, log_class_prior, best)
        responsibilities = log_posterior(log_p, y, transition).exp()
        before = transition
        transition = transition_matrix(label_counts(responsibilities, y, weights))
        if (transition - before).abs().max() < _CONVERGED:
            break
    return responsibilities, transition


def label_counts(responsibilities, y, weights):
    """Weight of the rows of each class (first axis) that were given each label."""
    weighted = responsibilities * weights[:, None]
    return weighted.new_zeros(responsibilities.shape[1:] * 2).index_add_(0, y, weighted).T


def _noise_model(class_model, responsibilities, transition, y, weights):
    trained, held_out = class_model.scores(responsibilities)
    log_class_prior = _log_class_prior(responsibilities, weights)
    best = best_inverse_temperature(trained, log_class_prior, y, transition, weights)
    log_p = log_probabilities(trained, log_class_prior, best)
    return NoiseModel(responsibilities, transition, log_p, held_out, log_class_prior, best)


def _confident_joint(log_p, y):
    """Count each most probable class with each given label; add one row on the diagonal."""
    identity = torch.eye(log_p.shape[1], dtype=log_p.dtype)
    return label_counts(identity[log_p.argmax(1)], y, log_p.new_ones(len(y))) + identity


def _log_class_prior(responsibilities, weights):
    return (weights @ responsibilities / weights.sum()).clamp_min(1e-9).log()
