"""The filter as an imbalanced-learn sampler; needs ``pip install sam-attribution[imblearn]``."""

from collections.abc import Mapping

import numpy as np
from imblearn.base import BaseSampler
from imblearn.utils import check_target_type
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from sam_attribution._as_arrays import from_tensor
from sam_attribution._row_order import check_order
from sam_attribution._validation import classes_of, num_samples
from sam_attribution.filtering import MislabelFilter

__all__ = ["MislabelSampler"]


class MislabelSampler(BaseSampler):
    """Imbalanced-learn sampler that drops the rows that score lowest.

    `MislabelFilter` works in an ``imblearn.pipeline.Pipeline`` as it is. This one also keeps
    the contract of imbalanced-learn's samplers: one-vs-all targets, ``get_feature_names_out``,
    tags, and routed weights by ``set_fit_resample_request``.

    Parameters
    ----------
    scorer : estimator, default=None
    removal_fraction : float or "auto", default="auto"
    memory : "auto", str, path, joblib.Memory or None, default="auto"
    random_state : int, RandomState instance or None, default=None
        All four as in `MislabelFilter`.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Ascending positions of the rows that stayed.
    scores_ : ndarray of shape (n_samples,)
        Scores of the rows given; not there for ``removal_fraction=0``.
    sampling_strategy_ : dict
        Empty: rows are chosen by their scores, not by the size of their class.

    See Also
    --------
    sam_attribution.MislabelFilter : The same without imbalanced-learn.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sam_attribution import SAMClassifier
    >>> from sam_attribution.imblearn import MislabelSampler
    >>> from imblearn.pipeline import make_pipeline
    >>> X, y = make_blobs(60, centers=2, random_state=0)
    >>> model = make_pipeline(
    ...     MislabelSampler(removal_fraction=0.1, random_state=0),
    ...     SAMClassifier(max_epochs=2),
    ... )
    >>> model.fit(X, y)[0].sample_indices_.shape
    (54,)
    """

    _sampling_type = "bypass"
    _parameter_constraints = MislabelFilter._parameter_constraints

    def __init__(self, scorer=None, *, removal_fraction="auto", memory="auto", random_state=None):
        super().__init__()
        self.scorer = scorer
        self.removal_fraction = removal_fraction
        self.memory = memory
        self.random_state = random_state

    def fit_resample(self, X, y, sample_weight=None, groups=None):
        """Score the rows and return all but the lowest, as `MislabelFilter` does.

        Parameters
        ----------
        X : array-like, sparse matrix or dataframe of shape (n_samples, ...)
        y : array-like of shape (n_samples,), or one-vs-all (n_samples, n_classes)
        sample_weight : array-like of shape (n_samples,), default=None
        groups : array-like of shape (n_samples,), default=None

        Returns
        -------
        X_kept, y_kept
            The rows and labels that stay, in the order and the container they came in.
        """
        check_order(X=X, y=y, sample_weight=sample_weight, groups=groups)
        y = from_tensor(y, "y")
        _check_rows(X, y)
        return super().fit_resample(X, y, sample_weight=sample_weight, groups=groups)

    def _check_X_y(self, X, y, accept_sparse=None):
        # the scorer checks the rows: it may take what an array of numbers cannot hold
        y = np.asarray(y) if np.ndim(y) > 1 else y
        y, is_one_vs_all = check_target_type(y, indicate_one_vs_all=True)
        X = np.asarray(X) if isinstance(X, list) else X
        X, y = validate_data(self, X, y, skip_check_array=True)
        return X, y, is_one_vs_all

    def _fit_resample(self, X, y, sample_weight=None, groups=None):
        inner = MislabelFilter(**self.get_params(deep=False))
        resampled = inner.fit_resample(X, y, sample_weight, groups)
        vars(self).pop("scores_", None)  # of an earlier fit
        for name in {"sample_indices_", "scores_"} & set(vars(inner)):
            setattr(self, name, getattr(inner, name))
        return resampled

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.sampler_tags.sample_indices = True
        return tags


def _check_rows(X, y):
    """Raise for what imbalanced-learn would stumble over before the scorer checks it."""
    if (isinstance(X, Mapping) and not issparse(X)) or num_samples(X) == 0:
        raise ValueError(
            f"X must be an array, a sparse matrix or a dataframe with rows, got {X!r}."
        )
    given = np.asarray(y)  # of a sparse matrix a single object
    if issparse(y) or given.ndim > 2 or (given.ndim == 2 and given.dtype.kind not in "biuf"):
        raise ValueError(
            "y must be labels, or numbers of shape (n_samples, n_classes), one-vs-all."
        )
    classes_of(given)
