"""Probabilities from class scores, and from probabilities and given labels the posterior."""

from math import exp, log

import torch
from scipy.optimize import minimize_scalar

from sam_attribution.detection._class_model import subsample

_LOG_INVERSE_TEMPERATURE = (-4.0, 2.0)
_ROWS_FOR_TEMPERATURE = 1000
# A few arrays of states x rows x classes for these rows only. A power of two: then no vector of
# the processor is cut, and the bits are those of all rows at once
_ROWS_AT_A_TIME = 2**14
_TINY = 1e-12


def log_probabilities(scores, log_class_prior, inverse_temperature):
    """Log of the mean over states of ``softmax(inverse_temperature * scores + log_class_prior)``.

    Parameters
    ----------
    scores : Tensor of shape (n_states, n, n_classes)
    log_class_prior : Tensor of shape (n_classes,)
    inverse_temperature : float

    Returns
    -------
    Tensor of shape (n, n_classes)
    """
    found = []
    for part in scores.split(_ROWS_AT_A_TIME, dim=1):
        log_p = torch.log_softmax(inverse_temperature * part + log_class_prior, dim=2)
        found.append(log_p[0] if len(log_p) == 1 else mean_probability(log_p))
    return torch.cat(found)


def mean_probability(log_p):
    """Log of the mean over states of probabilities, from a tensor (n, n_classes) per state."""
    chunks = zip(*(state.split(_ROWS_AT_A_TIME) for state in log_p), strict=True)
    return torch.cat([torch.stack(chunk).logsumexp(0) for chunk in chunks]) - log(len(log_p))


def log_posterior(log_p, y, transition):
    """Log-probability of each class to be the true one, given the label; (n, n_classes)."""
    return torch.log_softmax(log_p + transition[:, y].T.clamp_min(_TINY).log(), dim=1)


def log_likelihood(log_p, y, transition):
    """Log-probability of the given labels, shape (n,)."""
    return (log_p.exp() * transition[:, y].T).sum(1).clamp_min(_TINY).log()


def best_inverse_temperature(scores, log_class_prior, y, transition, weights=None):
    """Inverse temperature that makes the given labels most probable, from up to 1000 rows."""
    rows = subsample(len(y), _ROWS_FOR_TEMPERATURE)
    scores, given = scores[:, rows], transition[:, y[rows]].T
    weights = scores.new_ones(len(rows)) if weights is None else weights[rows]

    def unlikelihood(log_inverse_temperature):
        logits = exp(log_inverse_temperature) * scores + log_class_prior
        likelihood = (torch.softmax(logits, dim=2).mean(0) * given).sum(1)
        return -float(weights @ likelihood.clamp_min(_TINY).log())

    settings = {"bounds": _LOG_INVERSE_TEMPERATURE, "method": "bounded", "options": {"xatol": 0.1}}
    return exp(minimize_scalar(unlikelihood, **settings).x)


def log_odds(log_p, y):
    """Log-odds of the given label against all the others, from log-probabilities; (n,)."""
    given = log_p.gather(1, y[:, None])
    return (given - log_p.scatter(1, y[:, None], -torch.inf).logsumexp(1, keepdim=True))[:, 0]


def almost_identity(n_classes, share=0.001):
    """Transition matrix of labels that are almost all right: no single row can rule it out."""
    return (1 - share) * torch.eye(n_classes, dtype=torch.float32) + share / n_classes
