"""A held-out set that travels as a parameter: immutable, and the same under ``clone``."""

import joblib
import numpy as np
from scipy.sparse import issparse

from sam_attribution._as_arrays import PAD_TARGETS, from_tensor, refuse_ragged, values_of
from sam_attribution._fingerprint import fingerprint
from sam_attribution._row_order import check_order
from sam_attribution._row_source import RowSource
from sam_attribution._rows import ArrayRows, with_own_targets
from sam_attribution._summary import table_html
from sam_attribution._validation import check_given, num_samples

_LABELS = 10  # that are counted by name


class ValidationData:
    """Validation rows and their labels, as a read-only copy.

    An estimator takes it as a constructor parameter, so that no cross-validation slices it along
    with the training rows. Two objects with the same content are equal and hash alike.

    Parameters
    ----------
    X : array-like, sparse matrix or dataframe of shape (n_samples, ...), dict, tuple or Dataset
        Inputs, in the feature space that reaches the estimator which holds this object.
    y : array-like of shape (n_samples,), optional
        Their labels or targets, for a SAMNet of shape (n_samples, ...); None takes those of a
        Dataset.

    Attributes
    ----------
    X : ndarray, sparse array, dataframe or source of rows
        A read-only copy; a dataframe stays one, and every access gives a copy of it. A memory map
        and a Dataset are not copied.
    y : ndarray of shape (n_samples, ...)
        A read-only copy.

    Raises
    ------
    ValueError
        If there are no rows, `y` has more than one dimension or missing values, the lengths
        differ, or `X` and `y` have the same index in another order.

    Examples
    --------
    >>> from sklearn.base import clone
    >>> from sam_attribution.validation_data import ValidationData
    >>> held_out = ValidationData([[0.0, 1.0], [1.0, 0.0]], ["cat", "dog"])
    >>> held_out
    ValidationData(X of shape (2, 2), y of shape (2,))
    >>> clone(held_out, safe=False) is held_out
    True
    """

    __slots__ = ("_X", "_digest", "_y")

    def __init__(self, X, y=None):
        check_order(X=X, y=y)
        X, y = with_own_targets(X, y)
        check_given(y, "y of ValidationData")
        refuse_ragged(X, "X")
        refuse_ragged(y, "y", PAD_TARGETS)
        X, y = _frozen(from_tensor(X, "X")), _frozen(np.asarray(values_of(y, "y")))
        _check_rows(X, y)
        # tensors have no hash of their content
        digest = fingerprint(X, y) if isinstance(X, RowSource) else joblib.hash((X, y))
        for name, value in (("_X", X), ("_y", y), ("_digest", digest)):
            object.__setattr__(self, name, value)

    @property
    def X(self):
        return self._X.copy() if _is_frame(self._X) else self._X

    @property
    def y(self):
        return self._y

    def __setattr__(self, name, value):
        raise AttributeError(f"ValidationData is immutable: {name} cannot be set, build a new one.")

    def __delattr__(self, name):
        raise AttributeError(f"ValidationData is immutable: {name} cannot be deleted.")

    def __len__(self):
        return len(self._y)

    def __eq__(self, other):
        return isinstance(other, ValidationData) and self._digest == other._digest

    def __hash__(self):
        return hash(self._digest)

    def __reduce__(self):
        return ValidationData, (self._X, self._y)

    def __sklearn_clone__(self):
        return self

    def __repr__(self):
        return f"ValidationData(X {_form(self._X)}, y of shape {self._y.shape})"

    def _repr_html_(self):
        texts = {"X": _form(self._X), "y": f"of shape {self._y.shape}"}
        if self._y.dtype.kind != "f":
            texts["rows by label"] = _counted(self._y)
        return table_html("ValidationData", texts)


def _form(X):
    """Inputs by their shapes, or by the name of their class and their number."""
    given = X.given() if isinstance(X, RowSource) else X
    if isinstance(given, dict):
        return "of " + ", ".join(f"{name} {tuple(each.shape)}" for name, each in given.items())
    if isinstance(given, tuple):
        return "of " + ", ".join(str(tuple(each.shape)) for each in given)
    if hasattr(given, "shape"):
        return f"of shape {tuple(given.shape)}"
    return f"{type(given).__name__} of {len(X)} rows"


def _counted(y):
    """Labels with their numbers of rows, the most frequent first."""
    labels, counts = np.unique(y.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    texts = [f"{labels[at]}: {counts[at]}" for at in order[:_LABELS]]
    more = [f"{len(labels)} labels in all"] if len(labels) > _LABELS else []
    return ", ".join(texts + more)


def _is_frame(data):
    return hasattr(data, "iloc")


def _frozen(data):
    """Copy of `data` that refuses to be written to, where its type has such a switch."""
    if isinstance(data, ArrayRows):
        return data.frozen(_frozen)
    if _is_frame(data) or isinstance(data, RowSource):
        return data.copy() if _is_frame(data) else data
    if issparse(data):
        copy = data.tocsr(copy=True)
        buffers = (copy.data, copy.indices, copy.indptr)
    else:
        copy = np.array(data, order="C")
        buffers = (copy,)
    for buffer in buffers:
        buffer.setflags(write=False)
    return copy


def _check_rows(X, y):
    if getattr(X, "ndim", 1) == 0 or num_samples(X) == 0:
        raise ValueError("X of ValidationData must have at least one row, got none.")
    if y.ndim == 0:
        raise ValueError("y of ValidationData must hold a target for each row, got one value.")
    if num_samples(X) != len(y):
        raise ValueError(
            f"X and y of ValidationData must have the same number of rows, "
            f"got {num_samples(X)} and {len(y)}."
        )
