"""`report_of`: the review page of a fitted detector."""

from sklearn.exceptions import NotFittedError

from sam_attribution.report._page import review_page

_LEARNED = {
    "given": "given_labels_",
    "suggested": "suggested_labels_",
    "scores": "scores_",
    "suspicious": "suspicious_",
    "parts": "parts_",
    "what_if": "what_if_",
    "classes": "classes_",
}


def report_of(
    detector,
    path,
    X,
    *,
    class_names=None,
    descriptions=None,
    image_shape=None,
    n_rows=None,
    title="Label review",
):
    """Write the review page of a fitted detector.

    Parameters
    ----------
    detector : object
        Fitted, with ``given_labels_``, ``suggested_labels_``, ``scores_``, ``suspicious_``,
        ``parts_``, ``what_if_`` and ``classes_``.
    path : str or path-like
        Of the HTML file.
    X : array-like of n_samples rows
        The rows of ``fit``, or what shows them better: images or texts, in the same order.
    class_names, descriptions, image_shape, n_rows, title
        As for :func:`review_page`.

    Returns
    -------
    pathlib.Path
        Of the file.

    Raises
    ------
    NotFittedError
        If the detector has not learned these.
    ValueError
        As :func:`review_page`, for instance if `X` has another number of rows than ``fit`` had.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from types import SimpleNamespace
    >>> from sam_attribution.report import report_of
    >>> fitted = SimpleNamespace(
    ...     given_labels_=[0, 0],
    ...     suggested_labels_=[0, 1],
    ...     scores_=[0.9, -0.4],
    ...     suspicious_=[False, True],
    ...     parts_={"mean loss": [0.5, -2.0]},
    ...     what_if_=[[0.9, 0.1], [0.2, 0.8]],
    ...     classes_=[0, 1],
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report_of(fitted, Path(folder) / "review.html", [[1.0], [2.0]]).name
    'review.html'
    """
    missing = [name for name in _LEARNED.values() if not hasattr(detector, name)]
    if missing:
        raise NotFittedError(
            f"detector must be fitted, got {type(detector).__name__} without "
            f"{', '.join(missing)}. Call fit(X, y) first."
        )
    n_rows_of_fit, n_given = len(detector.given_labels_), _n_rows(X)
    if n_given != n_rows_of_fit:
        raise ValueError(
            f"X must show the {n_rows_of_fit} rows of fit, in their order, got {n_given} rows. "
            "Show some of them only with n_rows."
        )
    return review_page(
        path,
        X,
        **{argument: getattr(detector, name) for argument, name in _LEARNED.items()},
        class_names=class_names,
        descriptions=descriptions,
        image_shape=image_shape,
        n_rows=n_rows,
        title=title,
    )


def _n_rows(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)
