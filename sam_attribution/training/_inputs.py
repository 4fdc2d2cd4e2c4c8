"""From whatever the user passes to validated arrays and label codes, and back."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from skorch.dataset import get_len
from skorch.utils import is_dataset, to_numpy

from sam_attribution._validation import check_sample_weight


class ArrayInputs:
    """Input side of :class:`ConformantNet`: features in `dtype`, labels as 0..C-1.

    ``n_features_in_`` is what scikit-learn makes of `X`, its second dimension.
    While the net trains, ``classes_`` and ``predict`` speak in codes as well, so that
    skorch's scoring callbacks compare like with like.
    """

    @property
    def classes_(self):
        """Labels, sorted; codes 0..C-1 while training."""
        labels = super().classes_
        return np.arange(len(labels)) if self._in_training else labels

    def predict(self, X):
        """Label of every row, shape (n_samples,)."""
        codes = self.predict_proba(X).argmax(axis=1)
        return self.classes_[codes]

    def forward_iter(self, X, training=False, device="cpu"):
        """Yield the module's output batch by batch, for validated input."""
        return super().forward_iter(self._validated(X), training=training, device=device)

    def to_tensors(self, X, y=None):
        """Features and label codes as the module wants them.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, ...)
            Checked as ``predict`` does it.
        y : array-like of shape (n_samples,), optional
            Labels among ``classes_``.

        Returns
        -------
        X : Tensor on the net's device
        codes : LongTensor of shape (n_samples,) or None
        """
        check_is_fitted(self)
        X = self._validated(X)
        if _is_opaque(X):
            raise TypeError(f"X must be an array or a tensor here, got {type(X).__name__}.")
        X = _writable(X.toarray() if issparse(X) else X)
        X = torch.as_tensor(X, device=self.device)
        if y is None:
            return X, None
        if len(y) != len(X):
            raise ValueError(f"X has {len(X)} rows, y has {len(y)}.")
        return X, torch.as_tensor(self._codes_of(y), device=self.device)

    def as_trained(self, X, y, sample_weight=None):
        """Return the three as training saw them: validated, in `dtype`, labels as codes."""
        check_is_fitted(self)
        X = self._validated(X, y)
        return X, None if y is None else self._codes_of(y), self._checked_weight(sample_weight, X)

    def _learn_inputs(self, X, y, sample_weight, classes, afresh):
        """Validate training data; learn shapes and labels if `afresh`."""
        learn = afresh or not hasattr(self, "classes_inferred_")
        X = self._validated(X, y, reset=learn)
        weight = self._checked_weight(sample_weight, X)
        if learn:
            self._row_size = None if _is_opaque(X) else int(np.prod(X.shape[1:]))
        if y is None:
            super().check_data(X, y)  # a Dataset: skorch looks for the labels in it
            return X, None, weight
        y = column_or_1d(_to_array(y), warn=True)
        check_classification_targets(y)
        if learn:
            self.classes_inferred_ = np.unique(y if classes is None else classes)
        return X, self._codes_of(y), weight

    def _validated(self, X, y="no_validation", *, reset=False):
        """Checked array in the right dtype; Datasets and dicts pass as they are."""
        if _is_opaque(X):
            return X
        if isinstance(X, torch.Tensor):
            self._check_n_features(X, reset)
            return X.to(getattr(torch, self.dtype)) if self._is_cast(X.is_floating_point()) else X
        dtype = self.dtype if self.module is None else "numeric"
        X = validate_data(self, X, y, reset=reset, accept_sparse="csr", allow_nd=True, dtype=dtype)
        X = X[0] if isinstance(X, tuple) else X
        return X.astype(self.dtype, copy=False) if self._is_cast(X.dtype.kind == "f") else X

    def _check_n_features(self, X, reset):
        """What ``validate_data`` does for arrays, for a tensor, which may be on a device."""
        if X.ndim < 2:
            raise ValueError(f"X must have 2 dimensions or more, got shape {tuple(X.shape)}.")
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )

    def _is_cast(self, floating):
        """Whole numbers are token ids to a user's module, and numbers to the default one."""
        return floating or self.module is None

    def _codes_of(self, y):
        """Positions of labels in ``classes_``."""
        labels, y = super().classes_, column_or_1d(_to_array(y))
        codes = np.searchsorted(labels, y).clip(max=len(labels) - 1)
        if unknown := set(y[labels[codes] != y].tolist()):
            raise ValueError(f"y holds labels that were not in fit: {sorted(unknown)}.")
        return codes.astype(np.int64)

    def _checked_weight(self, sample_weight, X):
        """Weights as a tensor, checked against the number of rows; None stays None."""
        if sample_weight is None:
            return None
        rows = np.empty(n_rows(X))
        weight = check_sample_weight(
            sample_weight, rows, dtype=self.dtype, ensure_non_negative=True
        )
        return torch.as_tensor(weight, device=self.device)

    def _sizes(self):
        """Sizes that a module may ask for, as far as the data tell."""
        if not hasattr(self, "classes_inferred_"):
            return {}
        sizes = {"n_features": self._row_size, "n_classes": len(super().classes_)}
        return {name: size for name, size in sizes.items() if size is not None}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def n_rows(X):
    """Count the rows of an array, a sparse matrix, a dict of arrays or a Dataset."""
    return len(X) if is_dataset(X) else get_len(X)


def _is_opaque(X):
    # dok_array is a dict
    return is_dataset(X) or (isinstance(X, Mapping) and not issparse(X))


def _to_array(y):
    return to_numpy(y) if isinstance(y, torch.Tensor) else y


def _writable(X):
    """`X`, or a copy if it is a read-only array, which torch would warn about."""
    return X.copy() if isinstance(X, np.ndarray) and not X.flags.writeable else X
