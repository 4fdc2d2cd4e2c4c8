"""How much better than chance the rows tell their labels."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from sam_attribution.detection._class_model import subsample

_MOST_ROWS = 10_000
_BY_CHANCE = 2.33  # standard errors: one in a hundred lies above
_FAR_FROM_OTHERS = 3.0


class LabelSkill:
    """Ranks of the scores of the given labels, tested against chance.

    Calibration, class sizes and the estimated noise have no part in it.

    Parameters
    ----------
    noise : NoiseShare
    networks : list of (ndarray of shape (m, n_classes), ndarray of int of shape (m,))
        For each split the class scores that its network gives the held-out rows, and their labels.

    Attributes
    ----------
    of_rows : float
        The best of all kinds of class scores, in standard errors; about 0 by chance.
    of_splits : list of float
        The network of each split alone.
    by_chance : list of int
        Splits whose network is no better than chance, while those of the others are.
    """

    def __init__(self, noise, networks):
        splits = [ScoreExcess.of(scores, y) for scores, y in networks]
        self.of_rows = max(_of_kinds(noise), _together(splits).in_standard_errors)
        self.of_splits = [each.in_standard_errors for each in splits]
        self.by_chance = [k for k in range(len(splits)) if _is_behind(splits, k)]

    @property
    def is_chance(self):
        """True if no kind of class scores tells the labels better than chance."""
        return self.of_rows < _BY_CHANCE


@dataclass(frozen=True)
class ScoreExcess:
    """Sum of the scores that rows have for their labels, beyond that by chance.

    Attributes
    ----------
    total : float
        Of normal quantiles of the ranks that the scores have among all rows, class by class.
    variance : float
        Of the sum if the labels were handed to the rows at random, exactly.
    n : int
        Rows.
    """

    total: float
    variance: float
    n: int

    @classmethod
    def of(cls, scores, y):
        """For class scores (n, n_classes) and codes (n,); of 10,000 rows if there are more."""
        some = subsample(len(y), _MOST_ROWS).numpy()
        scores, y = scores[some], y[some]
        counts = np.bincount(y, minlength=scores.shape[1])
        n = len(y)
        ranks = rankdata(scores - scores.mean(1, keepdims=True), axis=0)
        found = norm.ppf((ranks - 0.5) / n)
        # sum over a random assignment of labels to rows, centred: Hoeffding's variance
        found -= found.mean(0)
        found -= (found @ counts / n)[:, None]
        variance = (found**2 @ counts).sum() / max(n - 1, 1)
        return cls(found[np.arange(n), y].sum(), variance, n)

    @property
    def in_standard_errors(self):
        """0 where all scores are equal."""
        return float(self.total / np.sqrt(self.variance)) if self.variance > 0 else 0.0


def _together(parts):
    sums = np.sum([(each.total, each.variance, each.n) for each in parts], axis=0)
    return ScoreExcess(*sums)


def _of_kinds(noise):
    """Of the best kind of scores that the noise model has; -inf if it has none."""
    best, y = -np.inf, noise.labels
    n_kinds = max((len(each.scores) for each in noise.judged), default=0)
    for kind in range(n_kinds):  # rows trained on have the first kinds only
        having = [each for each in noise.judged if kind < len(each.scores)]
        parts = [ScoreExcess.of(each.scores[kind], y[each.rows]) for each in having]
        best = max(best, _together(parts).in_standard_errors)
    return best


def _is_behind(splits, k):
    """True if a split is no better than chance, and the others are clearly better than it."""
    own, others = splits[k], [each for each in splits if each is not splits[k]]
    if not others or own.in_standard_errors >= _BY_CHANCE:
        return False
    others = _together(others)
    error = np.sqrt(own.variance / own.n**2 + others.variance / others.n**2)
    return others.total / others.n - own.total / own.n > _FAR_FROM_OTHERS * error
