"""The checks of a page's arrays."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from sam_attribution._validation import from_tensor, num_samples


@dataclass(frozen=True)
class ReviewColumns:
    """Labels and scores of the rows, as arrays of length n_samples."""

    given: np.ndarray
    suggested: np.ndarray
    scores: np.ndarray
    suspicious: np.ndarray | None
    score_components: dict[str, np.ndarray]
    label_scores: np.ndarray | None


def review_columns(X, *, given, suggested, scores, suspicious, score_components, label_scores):
    """Return the arguments as :class:`ReviewColumns`; a ValueError names a wrong one."""
    components = {} if score_components is None else dict(score_components)
    n_samples = num_samples(X)
    return ReviewColumns(
        given=_column(given, "given", n_samples),
        suggested=_column(suggested, "suggested", n_samples),
        scores=_floats(scores, "scores", n_samples),
        suspicious=None if suspicious is None else _mask(suspicious, n_samples),
        score_components={
            str(name): _floats(values, f"score_components[{name!r}]", n_samples)
            for name, values in components.items()
        },
        label_scores=(
            None
            if label_scores is None
            else _floats(label_scores, "label_scores", n_samples, n_axes=2)
        ),
    )


def check_n_rows(n_rows, n_samples):
    """Return the number of rows on the page."""
    if n_rows is None:
        return n_samples
    if isinstance(n_rows, bool) or not isinstance(n_rows, int | np.integer) or n_rows < 1:
        raise ValueError(f"n_rows must be None or a positive integer, got {n_rows!r}.")
    return min(int(n_rows), n_samples)


def texts_of(descriptions, n_samples):
    """Return the descriptions as a list of strings, or None."""
    if descriptions is None:
        return None
    if isinstance(descriptions, str):
        raise TypeError("descriptions must hold one text per row, got a single string.")
    check_length(descriptions, "descriptions", n_samples)
    return [str(text) for text in descriptions]


def index_of(X):
    """Return the index of a DataFrame or Series as texts; None for row numbers."""
    index = getattr(X, "index", None)
    is_pandas = isinstance(X, pd.DataFrame | pd.Series)
    if not is_pandas or index.equals(pd.RangeIndex(len(X))):
        return None
    return [str(name) for name in index]


def check_length(values, name, n_samples):
    """Raise a ValueError unless there is one value per row of X."""
    if num_samples(values) != n_samples:
        raise ValueError(
            f"{name} must hold one value for each of the {n_samples} rows of X, got "
            f"{num_samples(values)}."
        )


def _column(values, name, n_samples):
    values = np.asarray(from_tensor(values, name))
    if values.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got an array of shape {values.shape}.")
    check_length(values, name, n_samples)
    return values


def _floats(values, name, n_samples, n_axes=1):
    """Float array; a column, of which the order counts, may hold infinity."""
    values = check_array(
        from_tensor(values, name),
        ensure_2d=False,
        dtype="float64",
        ensure_all_finite=False if n_axes == 1 else "allow-nan",
        input_name=name,
    )
    if values.ndim != n_axes:
        raise ValueError(f"{name} must have {n_axes} dimension(s), got shape {values.shape}.")
    check_length(values, name, n_samples)
    return values


def _mask(suspicious, n_samples):
    suspicious = _column(suspicious, "suspicious", n_samples)
    if suspicious.dtype.kind != "b":
        raise ValueError(
            f"suspicious must hold True or False for each row, got dtype {suspicious.dtype}."
        )
    return suspicious
