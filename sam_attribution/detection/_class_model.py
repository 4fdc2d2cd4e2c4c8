"""Class model: Gaussians of one covariance in the features of the network, cross-fitted."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from sam_attribution.detection._linear_scores import LinearScores

SHRINKAGE = 0.1
_N_FOLDS = 5
MOST_FEATURES = 256
_ROWS_FOR_DIRECTIONS = 5000
_ROUNDING = 1e-6


class ClassModel:
    """Linear discriminant analysis of features at several states of training.

    The label of a row never counts in its own score: the rows of a fold are scored by classes
    that were fitted on the other folds.

    Parameters
    ----------
    folds : list of Tensor
        Positions of the rows of each fold, see :func:`stratified_folds`.
    weights : Tensor of shape (n,)
    states : iterable of pairs of Tensor of shape (n, n_features) and (m, n_features)
        Features of the rows trained on and of the held-out rows, a pair per state. They are
        copied; :meth:`add_state` takes more of them.

    Notes
    -----
    With class means m_c and the covariance S within classes, shrunk by a tenth towards a multiple
    of the identity, the score of class c is ``h' S^-1 m_c - m_c' S^-1 m_c / 2``. S is the total
    covariance less that of the means, so for other responsibilities only a system of the
    size n_classes is solved again, or of n_features if these are fewer. Features beyond 256 are
    projected on their leading principal directions.

    References
    ----------
    Lee et al., Robust Inference via Generative Classifiers for Handling Noisy Labels,
    arXiv:1901.11300.
    """

    def __init__(self, folds, weights, states=()):
        order = torch.cat(folds)
        bounds = torch.tensor([0, *map(len, folds)]).cumsum(0).tolist()
        self._slices = [slice(*ends) for ends in pairwise(bounds)]  # rows of a fold side by side
        self._order, self._back, self._weights = order, order.argsort(), weights
        self._states = []
        for features, held_out in states:
            self.add_state(features, held_out)

    @property
    def n_states(self):
        """States taken in so far."""
        return len(self._states)

    def add_state(self, features, held_out, shrinkage=SHRINKAGE):
        """Take in the features of one more state, whose covariance is shrunk by that share."""
        compact = _compact(features, held_out, self._order)
        weights = self._weights[self._order]
        self._states.append(_State(*compact, self._slices, weights, shrinkage))

    def scores(self, responsibilities):
        """Scores (n_states, n, n_classes) of trained and (n_states, m, n_classes) of held-out rows.

        Parameters
        ----------
        responsibilities : Tensor of shape (n, n_classes)
            Probability of each class for each row; rows sum to 1.
        """
        trained = self._fold_by_fold(self._weighted(responsibilities))
        for scores in trained:
            scores.copy_(scores[self._back])
        return trained, self.held_out_scores(responsibilities)

    def held_out_scores(self, responsibilities):
        """Scores (n_states, m, n_classes) of the held-out rows."""
        weighted = self._weighted(responsibilities)
        return torch.stack([state.held_out_scores(weighted) for state in self._states])

    def linear_scores(self, responsibilities):
        """A list of :class:`LinearScores`, one per state: the classes fitted on all rows."""
        weighted = self._weighted(responsibilities)
        return [state.linear_scores(weighted) for state in self._states]

    def mean_scores(self, responsibilities):
        """Mean scores (n, n_classes) over the states."""
        return self._fold_by_fold(self._weighted(responsibilities)).mean(0)[self._back]

    def _fold_by_fold(self, weighted):
        """Scores (n_states, n, n_classes), rows in the order of folds; one copy in memory."""
        found = weighted.new_empty(len(self._states), *weighted.shape)
        for scores, state in zip(found, self._states, strict=True):
            scores.copy_(state.scores(weighted))
        return found

    def _weighted(self, responsibilities):
        return (responsibilities * self._weights[:, None])[self._order]


def stratified_folds(y):
    """Return the positions of the rows of 5 stratified folds, the same ones for equal `y`."""
    shuffled = np.random.default_rng(0).permutation(len(y))
    by_class = torch.as_tensor(shuffled[np.argsort(y.numpy()[shuffled], kind="stable")])
    return [by_class[fold::_N_FOLDS].sort().values for fold in range(_N_FOLDS)]


def subsample(n_rows, most):
    """Return ascending positions of at most `most` of the rows, the same ones each time.

    They are drawn at random: where classes alternate, every third row can be of a single class.
    """
    if n_rows <= most:
        return torch.arange(n_rows)
    drawn = np.random.default_rng(0).choice(n_rows, most, replace=False)
    return torch.as_tensor(np.sort(drawn))


class _State:
    """Features at one state, and the parts of the fit that do not depend on responsibilities."""

    def __init__(self, features, held_out, compaction, folds, weights, shrinkage):
        self._held_out, self._compaction, self._shrinkage = held_out, compaction, shrinkage
        self._folds = [features[rows] for rows in folds]
        self._slices = folds
        weights = [weights[rows] for rows in folds]
        scatter = [(f.T * w) @ f for f, w in zip(self._folds, weights, strict=True)]
        totals = [w.sum() for w in weights]
        self._of_all = _with_inverse(sum(scatter), sum(totals), shrinkage)
        self._of_others = [
            _with_inverse(sum(scatter) - own, sum(totals) - total, shrinkage)
            for own, total in zip(scatter, totals, strict=True)
        ]

    def scores(self, responsibilities):
        parts = [responsibilities[rows] for rows in self._slices]
        sizes = [part.sum(0) for part in parts]
        sums = [part.T @ fold for part, fold in zip(parts, self._folds, strict=True)]
        size, whole = sum(sizes), sum(sums)
        folds = zip(self._folds, self._of_others, sizes, sums, strict=True)
        return torch.cat(
            [
                _discriminants(f, *others, size - n, whole - s, self._shrinkage)
                for f, others, n, s in folds
            ]
        )

    def held_out_scores(self, responsibilities):
        directions, offsets = self._classes_of_all(responsibilities)
        return self._held_out @ directions - offsets

    def linear_scores(self, responsibilities):
        directions, offsets = self._classes_of_all(responsibilities)
        return LinearScores(self._compaction.centre, self._compaction.of(directions), offsets)

    def _classes_of_all(self, responsibilities):
        pairs = zip(self._slices, self._folds, strict=True)
        whole = sum(responsibilities[rows].T @ fold for rows, fold in pairs)
        return _classes(*self._of_all, responsibilities.sum(0), whole, self._shrinkage)


@dataclass(frozen=True, eq=False)
class _Compaction:
    """The map from features to compact ones: ``(features - centre) @ directions / scale``."""

    centre: Tensor
    directions: Tensor | None
    scale: Tensor

    def of(self, directions):
        """Directions (n_features, n_classes) in the features of such in the compact ones.

        They are 0 for constant features, which are 0 in the compact ones.
        """
        found = directions / self.scale
        return found if self.directions is None else self.directions @ found


def _compact(features, held_out, order):
    """Centred features of unit variance, at most 256, rows trained on in that order; the map."""
    centre = features.mean(0)
    features, held_out = features[order].sub_(centre), held_out - centre
    constant = features.std(0, correction=0) <= _ROUNDING * centre.abs()
    features[:, constant], held_out[:, constant] = 0, 0
    directions = None
    if features.shape[1] > MOST_FEATURES:
        directions = leading_directions(features[subsample(len(features), _ROWS_FOR_DIRECTIONS)])
        features, held_out = features @ directions, held_out @ directions
    scale = features.std(correction=0).clamp_min(torch.finfo(features.dtype).tiny)
    compaction = _Compaction(centre, directions, scale)
    return features.div_(scale), held_out.div_(scale), compaction  # of the copies made here


def leading_directions(features, most=MOST_FEATURES):
    """Leading principal directions (n_features, at most `most`) of features, about their mean."""
    centred = (features - features.mean(0)).numpy()
    leading = randomized_svd(centred, min(most, *centred.shape), random_state=0)[2]
    return torch.as_tensor(leading.T.copy())


def _with_inverse(scatter, total, shrinkage):
    """The shrunk total covariance and its inverse."""
    covariance = scatter.double() / total.clamp_min(1e-12)
    ridge = shrinkage * covariance.trace() / len(covariance) + 1e-9
    identity = torch.eye(len(covariance), dtype=scatter.dtype)
    shrunk = (1 - shrinkage) * covariance + ridge * identity
    return shrunk.to(scatter.dtype), torch.linalg.inv(shrunk).to(scatter.dtype)


def _discriminants(features, *classes):
    directions, offsets = _classes(*classes)
    return features @ directions - offsets


def _classes(covariance, inverse, sizes, sums, shrinkage):
    """Directions and offsets of the scores of classes with such sizes and sums of features."""
    means = (sums / sizes.clamp_min(1e-6)[:, None]).T
    shares = (1 - shrinkage) * sizes / sizes.sum()
    # within-class covariance from the total one, by the smaller of two systems
    if len(sizes) < len(covariance):
        directions = inverse @ means
        identity = torch.eye(len(sizes), dtype=means.dtype)
        woodbury = identity - shares[:, None] * (means.T @ directions)
        directions = torch.linalg.solve(woodbury.T, directions.T).T
    else:
        directions = torch.linalg.solve(covariance - (means * shares) @ means.T, means)
    return directions, (directions * means).sum(0) / 2
