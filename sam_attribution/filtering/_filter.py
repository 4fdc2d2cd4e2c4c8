"""The filter alone: rows in, the rows that stay out."""

import numpy as np
from sklearn.utils import get_tags, indexable
from sklearn.utils.validation import validate_data

from sam_attribution._row_source import RowSource
from sam_attribution._validation import take_rows
from sam_attribution.filtering._row_filter import RowFilter


class MislabelFilter(RowFilter):
    """Sampler that drops the rows that score lowest.

    Parameters
    ----------
    scorer : estimator, default=None
        Its ``fit(X, y)`` leaves ``scores_`` of shape (n_samples,), low for the rows to drop:
        a :class:`~sam_attribution.MislabelDetector` or a :class:`~sam_attribution.SAMInfluence`,
        for example. None is ``MislabelDetector()``, trained on ``SAMClassifier()``: the filter
        does not know the classifier behind it, so give it a scorer on that one.
    removal_fraction : float or "auto", default="auto"
        "auto" drops the rows that the scorer calls suspicious (``suspicious_``), which are none
        where nothing looks wrong; a class of which all rows are suspicious stays. A share of the
        rows, in [0, 1), drops that many, whatever they are. A ``SAMInfluence`` needs a share. 0
        scores nothing.
    memory : "auto", str, path, joblib.Memory or None, default="auto"
        Where scores are kept, so that another fit on the same rows does not compute them again;
        only an integer `random_state` makes them repeatable. "auto" keeps them in this process. A
        folder keeps them on disk as well, shared by processes. None keeps nothing.
    random_state : int, RandomState instance or None, default=None
        Handed on to every ``random_state`` inside `scorer` that is None. None makes every fit a
        new one, so nothing is cached.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Ascending positions of the rows that stayed.
    scores_ : ndarray of shape (n_samples,)
        Scores of the rows given; not there for ``removal_fraction=0``.
    n_features_in_ : int
        If `X` has columns; ``feature_names_in_`` if they have names.

    See Also
    --------
    sam_attribution.FilteredClassifier : The same before a classifier, in scikit-learn.
    sam_attribution.imblearn.MislabelSampler : The same as an imbalanced-learn sampler.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sam_attribution import MislabelFilter
    >>> X, y = make_blobs(60, centers=2, random_state=0)
    >>> cleaner = MislabelFilter(removal_fraction=0.2, random_state=0)
    >>> X_kept, y_kept = cleaner.fit_resample(X, y)
    >>> X_kept.shape
    (48, 2)
    """

    def __init__(self, scorer=None, *, removal_fraction="auto", memory="auto", random_state=None):
        self.scorer = scorer
        self.removal_fraction = removal_fraction
        self.memory = memory
        self.random_state = random_state

    def fit_resample(self, X, y=None, sample_weight=None, groups=None):
        """Score the rows and return all but the lowest.

        Parameters
        ----------
        X : array-like, sparse matrix or dataframe of shape (n_samples, ...)
            Rows, as the scorer takes them.
        y : array-like of shape (n_samples,)
            Labels. None takes those of a Dataset.
        sample_weight : array-like of shape (n_samples,), default=None
            Goes to the scorer if its ``fit`` takes weights.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows that belong together, for the scorer's `validation`.

        Returns
        -------
        X_kept, y_kept
            The rows and labels that stay, in the order and the container they came in.

        Raises
        ------
        ValueError
            If `removal_fraction` would drop all rows of a class, or is "auto" and the scorer says
            of no row that it is suspicious or not.
        """
        rows, labels, weight = self._checked(X, y, sample_weight, groups)
        validate_data(self, rows, labels, skip_check_array=True)
        self.sample_indices_ = np.flatnonzero(self._judge(rows, labels, weight, groups))
        given = indexable(rows, labels if y is None else y)
        kept = [take_rows(each, self.sample_indices_) for each in given]
        return tuple(each.given() if isinstance(each, RowSource) else each for each in kept)

    def fit(self, X, y=None, sample_weight=None, groups=None):
        """Score the rows: :meth:`fit_resample` without its result."""
        self.fit_resample(X, y, sample_weight, groups)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags = get_tags(self._scorer()).input_tags
        return tags
