"""The checks of a page's arrays."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sam_attribution._as_arrays import values_of
from sam_attribution._row_order import check_order, check_results
from sam_attribution._validation import (
    check_column,
    check_length,
    check_mask,
    check_numbers,
    num_samples,
)

MOST_ROWS = 100_000  # browsers limit how long a list can be


@dataclass(frozen=True)
class ReviewColumns:
    """Labels and scores of the rows, as arrays of length n_samples."""

    given: np.ndarray
    suggested: np.ndarray
    scores: np.ndarray
    suspicious: np.ndarray | None
    probability_wrong: np.ndarray | None
    score_components: dict[str, np.ndarray]
    label_scores: np.ndarray | None


def review_columns(
    X,
    *,
    given,
    suggested,
    scores,
    suspicious,
    probability_wrong,
    score_components,
    label_scores,
):
    """Return the arguments as :class:`ReviewColumns`; a ValueError names a wrong one."""
    components = {} if score_components is None else dict(score_components)
    n_samples = num_samples(X)
    in_order = {"suggested": suggested, "scores": scores, "suspicious": suspicious}
    parts = {f"score_components[{name!r}]": values for name, values in components.items()}
    in_order |= {"probability_wrong": probability_wrong, "label_scores": label_scores, **parts}
    check_order(X=X, given=given)
    check_results({"X": X}, **in_order)
    return ReviewColumns(
        given=check_column(given, "given", n_samples),
        suggested=check_column(suggested, "suggested", n_samples),
        scores=_ranked(scores, "scores", n_samples),
        suspicious=None if suspicious is None else check_mask(suspicious, "suspicious", n_samples),
        probability_wrong=(
            None if probability_wrong is None else _probabilities(probability_wrong, n_samples)
        ),
        score_components={
            str(name): _ranked(values, f"score_components[{name!r}]", n_samples)
            for name, values in components.items()
        },
        label_scores=(
            None
            if label_scores is None
            else _of_each_class(label_scores, "label_scores", n_samples)
        ),
    )


def check_n_rows(n_rows, n_samples):
    """Return the number of rows on the page."""
    n_rows = n_samples if n_rows is None else n_rows
    if isinstance(n_rows, bool) or not isinstance(n_rows, int | np.integer) or n_rows < 1:
        raise ValueError(f"n_rows must be None or a positive integer, got {n_rows!r}.")
    shown = min(int(n_rows), n_samples)
    if shown > MOST_ROWS:
        raise ValueError(
            f"n_rows must be given: a browser can show at most {MOST_ROWS} rows, got {shown}. "
            "Show the most suspicious ones, for example n_rows=1000."
        )
    return shown


def texts_of(descriptions, n_samples):
    """Return the descriptions as a list of strings, or None."""
    if descriptions is None:
        return None
    if isinstance(descriptions, str):
        raise TypeError("descriptions must hold one text per row, got a single string.")
    check_length(descriptions, "descriptions", n_samples)
    return [str(text) for text in descriptions]


def names_of(X, ids):
    """Return `ids`, or else the index of a DataFrame or Series, as texts; None for row numbers."""
    if ids is not None:
        return [str(name) for name in values_of(ids, "ids")]
    if not isinstance(X, pd.DataFrame | pd.Series) or X.index.equals(pd.RangeIndex(len(X))):
        return None
    return [str(name) for name in X.index]


def _ranked(values, name, n_samples):
    """Numbers of which the order counts, so that they may be infinite."""
    return check_column(values, name, n_samples, dtype="float64", finite=False)


def _probabilities(values, n_samples):
    """Probabilities of wrong labels; NaN for rows that were not judged."""
    found = _ranked(values, "probability_wrong", n_samples)
    outside = found[(found < 0) | (found > 1)]
    if len(outside):
        raise ValueError(
            f"probability_wrong must lie between 0 and 1, got {outside[0]:.3g}. Leave it out if "
            "the scores are no probabilities."
        )
    return found


def _of_each_class(values, name, n_samples):
    values = check_numbers(values, name, n_axes=(2,))
    check_length(values, name, n_samples)
    return values
