"""Features and probabilities of rows at a few recorded states of the training."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sam_attribution._rows import passes_over
from sam_attribution.problem import last_linear, logits_and_features

# Denser early on, before the network has memorised wrong labels
_SHARES_OF_TRAINING = (0.05, 0.15, 0.25, 0.45, 0.75)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Rows as the network sees them at one state of its training; on the CPU, in float32.

    Attributes
    ----------
    features : Tensor of shape (n, n_features)
        Input of the last linear layer; the logits of a module that does not end in one.
    log_probabilities : Tensor of shape (n, n_classes)
        Log-probability of each class, by the network.
    """

    features: Tensor
    log_probabilities: Tensor


def snapshot_states(path):
    """Return up to five recorded states, the nearest to 5, 15, 25, 45 and 75 % of training.

    For a network that was trained elsewhere and has no checkpoint, its final weights.

    Parameters
    ----------
    path : problem.TrainingPath

    Raises
    ------
    ValueError
        If no state was recorded.
    """
    path.accept_final_weights()
    states = [state for state in path.recorded_states if path.time_of(state) > 0]
    if not states:
        raise ValueError(
            "MislabelDetector needs recorded states of the training, and estimator has none. Use "
            'SAMClassifier(trajectory="auto").'
        )
    times = np.array([path.time_of(state) for state in states])
    nearest = {int(abs(times - share * path.duration).argmin()) for share in _SHARES_OF_TRAINING}
    return [states[number] for number in sorted(nearest)]


def snapshot(problem, state, X):
    """Take a snapshot of rows at a recorded state: one forward pass over `X`.

    Parameters
    ----------
    problem : Problem
        Gives the module and the rows per pass.
    state : training.State
        One of :func:`snapshot_states`.
    X : Tensor of shape (n, ...) or RowSource

    Returns
    -------
    Snapshot
    """
    return Snapshot(*_in_batches(problem, state, X, _features_of(problem, X[:1])))


def initial_features(problem, X):
    """Return the features of rows at the first recorded state, usually that before training."""
    state = problem.path.recorded_states[0]
    return _in_batches(problem, state, X, _features_of(problem, X[:1]))[0]


def _features_of(problem, some):
    """Return a function of parameters, buffers and a batch for logits and features."""
    return partial(logits_and_features, problem, last_linear(problem, some))


def _in_batches(problem, state, X, features_of):
    params = state.params.to(X.device)  # a stored state is on the CPU
    buffers = {name: buffer.to(X.device) for name, buffer in state.buffers.items()}
    passes = passes_over(X, torch.arange(len(X), device=X.device), problem.rows_per_pass)
    found = [_on_cpu(problem, *features_of(params, buffers, X[rows])) for rows in passes]
    features, log_probabilities = (torch.cat(parts) for parts in zip(*found, strict=True))
    return features, log_probabilities


def _on_cpu(problem, logits, features):
    """Features and log-probabilities of a batch; those of all rows may be too many for a GPU."""
    logits = problem.row_loss.to_logits(logits)
    return features.float().cpu(), logits.float().log_softmax(1).cpu()
