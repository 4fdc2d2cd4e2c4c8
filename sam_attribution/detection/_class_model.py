"""What rows of each class look like to the network: Gaussians of one covariance, cross-fitted."""

from itertools import islice

import numpy as np
from sklearn.utils.extmath import randomized_svd

_SHRINKAGE = 0.1
_N_FOLDS = 5
_MOST_FEATURES = 256
_ROWS_FOR_DIRECTIONS = 5000


class ClassModel:
    """Linear discriminant analysis of features at several states of training.

    The label of a row never counts in its own score: a fold is scored by the classes of the
    other folds.

    Parameters
    ----------
    features : list of ndarray of shape (n, n_features)
        Of the rows trained on, one array per state.
    held_out : list of ndarray of shape (m, n_features)
        Of the others.
    folds : ndarray of int, shape (n,)
        Fold of each row, see :func:`stratified_folds`.
    weights : ndarray of shape (n,)

    Notes
    -----
    With class means m_c and the covariance S within classes, shrunk by a tenth towards a multiple
    of the identity, the score of class c is ``h' S^-1 m_c - m_c' S^-1 m_c / 2``. S is the total
    covariance less that of the means, so for other memberships only a system of the size
    n_classes is solved again. Features beyond 256 are projected on their leading principal
    directions. Float32 throughout.

    References
    ----------
    Lee et al., Robust Inference via Generative Classifiers for Handling Noisy Labels,
    arXiv:1901.11300.
    """

    def __init__(self, features, held_out, folds, weights):
        self._folds = [np.flatnonzero(folds == fold) for fold in range(_N_FOLDS)]
        self._weights = weights.astype(np.float32)
        pairs = zip(features, held_out, strict=True)
        self._states = [_State(*_compact(*pair), self._folds, self._weights) for pair in pairs]

    def each_state(self, membership):
        """Yield the scores (n, n_classes) and (m, n_classes) at one state after the other.

        Parameters
        ----------
        membership : ndarray of shape (n, n_classes)
            How much each row counts as one of each class; rows sum to 1.
        """
        weighted = membership.astype(np.float32) * self._weights[:, None]
        for state in self._states:
            yield state.scores(weighted)

    def mean_scores(self, membership, n_states=None):
        """Mean of both scores over the first `n_states` states; over all by default."""
        trained, held_out = zip(*islice(self.each_state(membership), n_states), strict=True)
        return np.mean(trained, axis=0), np.mean(held_out, axis=0)


def stratified_folds(y):
    """A fold for each row, the classes spread evenly over the folds: the same for equal `y`."""
    shuffled = np.random.default_rng(0).permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    folds = np.empty(len(y), dtype=int)
    folds[by_class] = np.arange(len(y)) % _N_FOLDS
    return folds


class _State:
    """Features at one state, and what of the fit does not depend on the memberships."""

    def __init__(self, features, held_out, folds, weights):
        self._features, self._held_out, self._folds = features, held_out, folds
        scatter = [(features[rows].T * weights[rows]) @ features[rows] for rows in folds]
        totals = [weights[rows].sum() for rows in folds]
        others = [sum(scatter) - one for one in scatter], [sum(totals) - one for one in totals]
        self._inverses = [_inverse(*pair) for pair in zip(*others, strict=True)]
        self._inverse_of_all = _inverse(sum(scatter), sum(totals))

    def scores(self, membership):
        sums = [_sums(self._features[rows], membership[rows]) for rows in self._folds]
        of_all = [sum(parts) for parts in zip(*sums, strict=True)]
        result = np.empty_like(membership)
        for rows, inverse, own in zip(self._folds, self._inverses, sums, strict=True):
            others = [whole - part for whole, part in zip(of_all, own, strict=True)]
            result[rows] = _discriminants(self._features[rows], inverse, *others)
        return result, _discriminants(self._held_out, self._inverse_of_all, *of_all)


def _compact(features, held_out):
    """Centred features, at most 256 of them, in float32."""
    centre = features.mean(0)
    features, held_out = features - centre, held_out - centre
    if features.shape[1] > _MOST_FEATURES:
        some = features[:: -(-len(features) // _ROWS_FOR_DIRECTIONS)]
        directions = randomized_svd(some, min(_MOST_FEATURES, len(some)), random_state=0)[2].T
        features, held_out = features @ directions, held_out @ directions
    scale = features.std() or 1.0
    return (features / scale).astype(np.float32), (held_out / scale).astype(np.float32)


def _inverse(scatter, total):
    """Inverse of the shrunk total covariance."""
    covariance = scatter.astype(float) / max(total, 1e-12)
    ridge = _SHRINKAGE * np.trace(covariance) / len(covariance) or 1.0
    shrunk = (1 - _SHRINKAGE) * covariance + ridge * np.eye(len(covariance))
    return np.linalg.inv(shrunk).astype(np.float32)


def _sums(features, membership):
    return membership.sum(0), membership.T @ features


def _discriminants(features, inverse, sizes, sums):
    """Scores (rows, n_classes) of classes with such sizes and sums of features."""
    means = (sums / np.maximum(sizes, 1e-6)[:, None]).T
    directions = inverse @ means
    shares = (1 - _SHRINKAGE) * sizes / sizes.sum()
    # Woodbury: from the total covariance to that within classes
    within = np.eye(len(sizes), dtype=np.float32) - shares[:, None] * (means.T @ directions)
    directions = directions @ np.linalg.inv(within)
    return features @ directions - (directions * means).sum(0) / 2
