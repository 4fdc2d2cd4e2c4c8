"""Class scores in which the own label of a row had no part, and the noise that they tell of."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_attribution.detection._calibrated_classes import JudgedRows, standardised
from sam_attribution.detection._class_model import ClassModel
from sam_attribution.detection._noise_share import NoiseShare

_LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True, eq=False)
class SplitSignals:
    """What the network of one split says about the rows of it.

    Attributes
    ----------
    train, held_out : ndarray of int
        Positions of the rows.
    early : ClassModel or None
        Of features that depend on no label, for the rows trained on followed by those held out.
        None if there are no such features.
    later : ClassModel
        Of features during the training.
    network : tuple of Tensor of shape (n, n_classes) and (m, n_classes)
        Log-probabilities by the network, of the rows trained on and of those held out.
    """

    train: np.ndarray
    held_out: np.ndarray
    early: ClassModel | None
    later: ClassModel
    network: tuple[Tensor, Tensor]


class UntouchedScores:
    """Class scores of all rows, from the networks of all splits.

    A row that a split held out has the scores of features before the training, of features during
    the training, and of the network. A row that every split trained on has the first only: later
    states know its label.

    Parameters
    ----------
    splits : list of SplitSignals
    n_rows : int
    is_right : ndarray of bool, shape (n_rows,)
        True for rows whose labels are known to be right. They calibrate the scores that the rows
        trained on have.
    """

    def __init__(self, splits, n_rows, is_right):
        self._splits, self._n_rows = splits, n_rows
        was_held = np.zeros(n_rows, bool)
        for split in splits:
            was_held[split.held_out] = True
        self._held_out = np.flatnonzero(was_held & ~is_right)
        seen = np.unique(np.concatenate([np.r_[each.train, each.held_out] for each in splits]))
        self._others = np.setdiff1d(seen, self._held_out)

    def judged(self, memberships):
        """Scores by classes that are fitted to `memberships`, a list of JudgedRows.

        Parameters
        ----------
        memberships : ndarray of shape (n_rows, n_classes)
        """
        likely = torch.as_tensor(memberships, dtype=torch.float32)
        early, (later, trained_later) = self._early(likely), self._later(likely)
        network, trained_network = self._by_network()
        held_out = [*early, later, network]
        found = []
        if len(self._held_out):
            found.append(JudgedRows(self._held_out, [each[self._held_out] for each in held_out]))
        if early and len(self._others):
            known = [each[self._others] for each in early]
            found.append(JudgedRows(self._others, known))
        return found

    def _early(self, memberships):
        """A list with an array (n_rows, n_classes) for each kind of early features."""
        models = [(each, each.early) for each in self._splits if each.early is not None]
        totals = [_Mean(memberships.shape) for _ in range(models[0][1].n_states if models else 0)]
        for split, model in models:
            rows = np.r_[split.train, split.held_out]
            for total, scores in zip(totals, model.scores(memberships[rows])[0], strict=True):
                total.add(rows, standardised(scores.numpy()))
        return [total.value for total in totals]

    def _later(self, memberships):
        """Scores of held-out and of trained rows by features during training, each (n_rows, ...)."""
        held_out, trained = _Mean(memberships.shape), _Mean(memberships.shape)
        for split in self._splits:
            states, states_held_out = split.later.scores(memberships[split.train])
            trained.add(split.train, _together(states))
            held_out.add(split.held_out, _together(states_held_out))
        return held_out.value, trained.value

    def _by_network(self):
        n_classes = self._splits[0].network[0].shape[1]
        pair = _Mean((self._n_rows, n_classes)), _Mean((self._n_rows, n_classes))
        for split in self._splits:
            rows = split.train, split.held_out
            for total, some, log_p in zip(pair, rows, split.network, strict=True):
                total.add(some, np.log(log_p.exp().numpy() + _LEAST_PROBABILITY))
        return pair[1].value, pair[0].value


def _together(states):
    """Sum of the scores at several states."""
    return sum(standardised(each.numpy()) for each in states)


def noise_of(evidence, n_samples, sample_weight, trust):
    """Return the NoiseShare of all rows; those of a ``ValidationData`` follow the others.

    Parameters
    ----------
    evidence : list of SplitEvidence
    n_samples : int
        Rows that were given to ``fit``.
    sample_weight : array-like of shape (n_samples,) or None
    trust : bool
        The labels of the ``ValidationData`` are right.
    """
    splits = [each.signals(n_samples) for each in evidence]
    n_rows = max(n_samples, 1 + max(int(each.held_out.max()) for each in splits))
    y, weights = np.zeros(n_rows, int), np.ones(n_rows)
    for split, each in zip(splits, evidence, strict=True):
        y[split.train], y[split.held_out] = each.codes
    if sample_weight is not None:
        weights[:n_samples] = sample_weight / np.mean(sample_weight)
    is_right = (np.arange(n_rows) >= n_samples) & trust
    scores = UntouchedScores(splits, n_rows, is_right)
    return NoiseShare(scores, y, splits[0].network[0].shape[1], weights, is_right)


class _Mean:
    """Mean of what several splits say about each row."""

    def __init__(self, shape):
        self._total, self._count = np.zeros(shape, np.float32), np.zeros(shape[0])

    def add(self, rows, found):
        self._total[rows] += found
        self._count[rows] += 1

    @property
    def value(self):
        return self._total / np.maximum(self._count, 1)[:, None].astype(np.float32)
