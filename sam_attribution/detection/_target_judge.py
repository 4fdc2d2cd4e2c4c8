"""Judgement of the targets of a regression, by networks that were trained on other rows."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from scipy.special import expit

from sam_attribution._rows import passes_over
from sam_attribution._turns import exclusive
from sam_attribution._warnings import warn
from sam_attribution.detection._wrong_targets import WrongTargets
from sam_attribution.fitting import Split, mean_over_splits, train_split


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """Predictions for the rows of one split, means over the states of the later half of training.

    Attributes
    ----------
    estimator : SAMRegressor or Pipeline
    split : Split
    of_train, of_held_out : ndarray of shape (n,) and (m,)
    seconds : float
    """

    estimator: object
    split: Split
    of_train: np.ndarray
    of_held_out: np.ndarray
    seconds: float


def check_targets_vary(y):
    """Raise a ValueError if all targets are equal."""
    if np.ptp(y) == 0:
        raise ValueError(f"y must hold different targets, got {float(y[0]):g} in every row.")


@exclusive()
def train_and_predict(estimator, split, X, y, sample_weight, n_jobs):
    """Train `estimator` on a split's rows, unless it is frozen, and return SplitPredictions."""
    trained = train_split(estimator, split, X, y, sample_weight, differentiated=False)
    started = perf_counter()
    X_held_out, _ = trained.tensors(split.X, split.y)
    found = [_late_mean(trained.problem, rows) for rows in (trained.problem.X, X_held_out)]
    return SplitPredictions(trained.estimator, split, *found, perf_counter() - started)


class TargetJudge:
    """Residuals of all rows, and how probable it is that targets are wrong.

    Rows that a split held out are judged by the networks that never saw them; the others by those
    that were trained on them, whose residuals are smaller.

    Attributes
    ----------
    predictions, suggestions : ndarray of shape (n_samples,)
        For rows of no split the predictions are NaN, the suggestions as given.
    scores, probability_wrong : ndarray of shape (n_samples,)
    interval : tuple of float
    none_wrong : float
        Probability that no target is wrong.
    has_skill : bool
        Half of the residuals are smaller than half of the distances to the median target. If most
        targets equal that one, their means are compared.
    """

    def __init__(self, found, y, sample_weight):
        self._found, n = found, len(y)
        held_out = [each for each in found if len(each.split.held_out)]
        by_train = mean_over_splits([e.split.train for e in found], [e.of_train for e in found], n)
        rows, values = [e.split.held_out for e in held_out], [e.of_held_out for e in held_out]
        by_others = mean_over_splits(rows, values, n) if held_out else np.full(n, np.nan)
        was_held_out = ~np.isnan(by_others)
        self.predictions = np.where(was_held_out, by_others, by_train)
        groups = [np.flatnonzero(was_held_out), np.flatnonzero(~was_held_out & ~np.isnan(by_train))]
        residuals = y - self.predictions
        mixture = WrongTargets(residuals, y, groups, sample_weight)
        self.scores, self.interval = mixture.log_odds, mixture.interval
        self.probability_wrong = expit(-self.scores)
        self.suggestions = np.where(np.isnan(self.scores), y, self.predictions)
        self.none_wrong = float(mixture.probabilities[0])
        distances = abs(y - np.median(y))
        typical = np.nanmedian if np.median(distances) > 0 else np.nanmean
        self.has_skill = bool(typical(abs(residuals)) < typical(distances))
        if not self.has_skill:
            warn(
                "The network predicts y hardly better than its median does, so no target is called "
                "suspicious. Scale features and y to about unit size, and train longer."
            )

    def diagnostics(self):
        """Return a table with a row per split."""
        return pd.DataFrame(
            {
                "n_train": len(each.split.train),
                "n_held_out": len(each.split.y),
                "residual": np.median(abs(each.split.y - each.of_held_out)),
                "seconds_scoring": each.seconds,
            }
            for each in self._found
        )


@torch.no_grad()
def _late_mean(problem, X):
    """Mean prediction (n,) over the recorded states of the later half of the training."""
    path = problem.path
    path.accept_final_weights()
    if not path.recorded_states:
        raise ValueError(
            "MislabelDetector needs recorded states of the training, and estimator has none. Use "
            'SAMRegressor(trajectory="auto").'
        )
    last = path.time_of(path.recorded_states[-1])
    late = [state for state in path.recorded_states if path.time_of(state) >= last / 2]
    return np.mean([_predicted(problem, state, X) for state in late], axis=0)


def _predicted(problem, state, X):
    then = problem.at_epoch(problem.path.epoch_at(state))
    params = state.params.to(X.device)
    buffers = {name: buffer.to(X.device) for name, buffer in state.buffers.items()}
    passes = passes_over(X, torch.arange(len(X), device=X.device), problem.rows_per_pass)
    found = [then.logits(params, buffers, X[rows])[:, 0].double().cpu() for rows in passes]
    return torch.cat(found).numpy()
