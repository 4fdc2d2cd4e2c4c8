"""Class scores of all rows by the networks of all splits, and the noise that they tell of."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_attribution.detection._calibrated_classes import JudgedRows, standardised
from sam_attribution.detection._class_model import ClassModel
from sam_attribution.detection._effective_weights import effective_weights
from sam_attribution.detection._noise_share import NoiseShare
from sam_attribution.detection._trusted_classes import TrustedClasses

_LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True, eq=False)
class SplitSignals:
    """What the network of one split says about the rows of it.

    Attributes
    ----------
    train, held_out : ndarray of int
        Positions of the rows.
    early : ClassModel
        Of features that depend on no label, for the rows trained on followed by those held out.
    later : ClassModel
        Of features during the training.
    network : tuple of Tensor of shape (n, n_classes) and (m, n_classes)
        Log-probabilities by the network, of the rows trained on and of those held out.
    trusted : TrustedClasses, optional
        If the labels of the rows held out are known to be right and every class is among them.
    """

    train: np.ndarray
    held_out: np.ndarray
    early: ClassModel
    later: ClassModel
    network: tuple[Tensor, Tensor]
    trusted: TrustedClasses | None = None


class UntouchedScores:
    """Class scores of all rows, from the networks of all splits.

    The own label of a row has no part in the scores by which noise is judged. A row that a split
    held out has those of features before the training, of features during the training, and of the
    network. A row that every split trained on has the first only: later states know its label.
    :meth:`ranked` has all kinds for all rows.

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
        self._unseen = np.unique(np.concatenate([each.held_out for each in splits]))
        self._seen = np.unique(np.concatenate([each.train for each in splits]))
        self._held_out = self._unseen[~is_right[self._unseen]]
        self._others = np.setdiff1d(np.union1d(self._seen, self._unseen), self._held_out)

    def judged(self, memberships):
        """Scores by classes that are fitted to `memberships`, a list of JudgedRows.

        Parameters
        ----------
        memberships : ndarray of shape (n_rows, n_classes)
        """
        likely = torch.as_tensor(memberships, dtype=torch.float32)
        untouched = [*self._early(likely), *self._by_trusted()[0]]
        found = []
        if len(self._held_out):
            scores = [*untouched, *self._of_held_out(likely)]
            found.append(_judged(self._held_out, scores, memberships))
        if len(self._others):
            found.append(_judged(self._others, untouched, memberships))
        return found

    def unseen(self, memberships):
        """JudgedRows of all rows that a network held out, with right labels or not.

        Whatever other rows come, their scores are of the same kinds.
        """
        likely = torch.as_tensor(memberships, dtype=torch.float32)
        scores = [*self._early(likely), *self._of_held_out(likely)]
        return _judged(self._unseen, scores, memberships)

    def ranked(self, memberships):
        """JudgedRows with all kinds of scores: rows that a network held out, and those trained on.

        The labels of rows trained on have a part in their own scores.
        """
        likely = torch.as_tensor(memberships, dtype=torch.float32)
        untouched, of_trusted = self._by_trusted()
        shared = [*self._early(likely), *untouched, *of_trusted]
        parts = (self._unseen, self._of_held_out(likely)), (self._seen, self._of_trained(likely))
        return [_judged(rows, [*shared, *scores], memberships) for rows, scores in parts]

    def _early(self, memberships):
        """An array (n_rows, n_classes) for each kind of features from before the training."""
        n_kinds = self._splits[0].early.n_states
        totals = [_Mean(memberships.shape) for _ in range(n_kinds)]
        for split in self._splits:
            rows = np.r_[split.train, split.held_out]
            kinds = split.early.scores(memberships[rows])[0]
            for total, scores in zip(totals, kinds, strict=True):
                total.add(rows, standardised(scores.numpy()))
        return [total.value for total in totals]

    def _of_held_out(self, memberships):
        """Scores of held-out rows by features of the training, and by the network; two arrays."""
        later, network = _Mean(memberships.shape), _Mean(memberships.shape)
        for split in self._splits:
            states = split.later.held_out_scores(memberships[split.train])
            later.add(split.held_out, _sum_of(states))
            network.add(split.held_out, network_scores(split.network[1]))
        return [later.value, network.value]

    def _of_trained(self, memberships):
        """The same of rows trained on."""
        later, network = _Mean(memberships.shape), _Mean(memberships.shape)
        for split in self._splits:
            states, _ = split.later.scores(memberships[split.train])
            later.add(split.train, _sum_of(states))
            network.add(split.train, network_scores(split.network[0]))
        return [later.value, network.value]

    def _by_trusted(self):
        """Scores by classes of trusted rows: in features before the training, and in those of it.

        Returns
        -------
        two lists of ndarray of shape (n_rows, n_classes)
        """
        split = self._splits[0]  # there is but one if there are trusted rows
        if split.trusted is None:
            return [], []
        pairs = [*split.trusted.untouched, split.trusted.later]
        found = np.zeros((len(pairs), self._n_rows, pairs[0][0].shape[1]), np.float32)
        for scores, (trained, own) in zip(found, pairs, strict=True):
            scores[split.train], scores[split.held_out] = trained, own
        return list(found[:-1]), [found[-1]]


def _judged(rows, scores, memberships):
    return JudgedRows(rows, [each[rows] for each in scores], memberships)


def _sum_of(states):
    return sum(standardised(each.numpy()) for each in states)


def network_scores(log_p):
    """Scores (n, n_classes) by log-probabilities of the network: a Tensor of that shape."""
    return np.log(log_p.exp().numpy() + _LEAST_PROBABILITY)


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
    splits = [each.signals(n_samples, trust) for each in evidence]
    n_rows = max(n_samples, 1 + max(int(each.held_out.max()) for each in splits))
    y, weights = np.zeros(n_rows, int), np.ones(n_rows)
    for split, each in zip(splits, evidence, strict=True):
        y[split.train], y[split.held_out] = each.codes
    if sample_weight is not None:
        weights[:n_samples] = effective_weights(sample_weight)
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
