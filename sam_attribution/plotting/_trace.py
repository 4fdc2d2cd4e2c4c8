"""Predictions beside the training rows that harmed and helped them."""

import re

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sam_attribution._validation import from_tensor, num_samples, take_rows
from sam_attribution.plotting._fitted import learnt
from sam_attribution.plotting._trace_images import draw_images
from sam_attribution.plotting._trace_lines import lines_of
from sam_attribution.plotting._trace_table import draw_table

_COLUMNS = ["query", "rank", "train_row", "label", "score", "epochs"]
_MOST_QUERIES = 20


class TraceDisplay:
    """For every query the training rows that harmed and helped it most.

    Images are drawn as images; rows of features and texts as a table. With each training row stand
    its label and the suggested one if that is another, its score (the predicted rise of the query's
    loss if the row is removed: negative = harmful), and the epochs in which most of it came about.

    Parameters
    ----------
    explanation : DataFrame
        As :meth:`SAMInfluence.explain <sam_attribution.SAMInfluence.explain>` or
        ``explain_errors`` returns; `true_label` and `predicted_label` are shown if there.
    X_query : array-like of shape (n_query, ...)
        Rows to which its column `query` points.
    X_train : array-like of shape (n_samples, ...)
        Rows given to ``fit``, to which `train_row` points. Images have shape (h, w), (h, w, c)
        or (c, h, w); rows of numbers are features, strings are texts.
    image_shape : tuple of int, default=None
        Of flat rows that are images.
    feature_names : sequence of str, default=None
        Heads of the columns of a table, of which up to 6 are shown; None takes those of a
        DataFrame.
    class_names : sequence or dict, default=None
        Names of the labels 0, 1, ..., or by label. None shows the labels.
    unit : str or None, default="nats"
        Of the scores; None shows none.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    images_ : list of AxesImage
        In the order of `lines_`; empty for a table.
    table_ : Table or None
        None for images.
    lines_ : DataFrame
        What is drawn, a line for each query (`role` is "query") and each training row
        ("harmed" or "helped"): `role`, `query`, `train_row`, `text`.

    Examples
    --------
    >>> import pandas as pd
    >>> from sam_attribution.plotting import TraceDisplay
    >>> explanation = pd.DataFrame(
    ...     {
    ...         "query": 0, "rank": [1, -1], "train_row": [2, 0], "label": ["ham", "spam"],
    ...         "most_helpful_label": ["spam", "spam"], "score": [-0.2, 0.1],
    ...         "epochs": ["1-2", "3"],
    ...     }
    ... )
    >>> texts = ["win a prize now", "see you at noon", "win money"]
    >>> display = TraceDisplay.from_predictions(explanation, ["win!"], texts)
    >>> display.lines_[["role", "train_row"]].values.tolist()
    [['query', -1], ['harmed', 2], ['helped', 0]]
    """

    def __init__(
        self,
        explanation,
        X_query,
        X_train,
        *,
        image_shape=None,
        feature_names=None,
        class_names=None,
        unit="nats",
    ):
        self.explanation = explanation
        self.X_query = X_query
        self.X_train = X_train
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.class_names = class_names
        self.unit = unit

    @classmethod
    def from_predictions(cls, explanation, X_query, X_train, *, ax=None, **settings):
        """Draw a table of explanations.

        Parameters
        ----------
        explanation, X_query, X_train
            As for the class.
        ax : Axes or None, default=None
            None makes a figure of the right size.
        **settings
            `image_shape`, `feature_names`, `class_names` and `unit`, as for the class.

        Returns
        -------
        TraceDisplay

        Raises
        ------
        ValueError
            If the table is empty, has other columns, more than 20 queries, or points to rows that
            are not there, or if the rows are no images of the shape given.
        """
        return cls(explanation, X_query, X_train, **settings).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls, influence, X_query, y_query, X_train, *, k=3, split=None, ax=None, **settings
    ):
        """Explain queries, right or wrong, and draw it.

        Parameters
        ----------
        influence : SAMInfluence
            Fitted on `X_train`.
        X_query : array-like of shape (n_query, ...)
            Up to 20 rows. For the worst mistakes among many see ``explain_errors`` and
            :meth:`from_predictions`.
        y_query : array-like of shape (n_query,)
        X_train : array-like of shape (n_samples, ...)
            As for the class.
        k : int, default=3
            Training rows at either end.
        split : int, optional
            Whose model is asked, as for ``SAMInfluence.attribute``.
        ax : Axes or None, default=None
            None makes a figure of the right size.
        **settings
            As for :meth:`from_predictions`; `unit` is that of the method and the evaluation if it
            is not given.

        Returns
        -------
        TraceDisplay

        Raises
        ------
        NotFittedError
            If `influence` is not fitted.
        ValueError
            As :meth:`from_predictions` and ``explain``.
        """
        learnt(influence, ["explain"], argument="influence")
        check_is_fitted(influence)
        _check_few(len(y_query), "X_query has")
        y_query = np.asarray(from_tensor(y_query, "y_query"))
        table = influence.explain(X_query, y_query, k, split=split)
        predicted = influence.estimators_[split or 0].predict(X_query)
        asked = table["query"].to_numpy()
        table = table.assign(true_label=y_query[asked], predicted_label=predicted[asked])
        settings = {"unit": _unit_of(influence, split or 0)} | settings
        return cls.from_predictions(table, X_query, X_train, ax=ax, **settings)

    def plot(self, ax=None):
        """Draw it.

        Parameters
        ----------
        ax : Axes or None, default=None
            None makes a figure of the right size.

        Returns
        -------
        TraceDisplay
        """
        _check_table(self.explanation)
        X_query, X_train = (
            from_tensor(self.X_query, "X_query"),
            from_tensor(self.X_train, "X_train"),
        )
        self.lines_ = lines_of(self.explanation, self.class_names, self.unit)
        rows = _rows_of(self.lines_, X_query, X_train)
        self.images_, self.table_ = [], None
        if self.image_shape is not None or np.ndim(rows[0]) > 1:
            self.ax_, self.images_ = draw_images(ax, self.lines_, rows, self.image_shape)
        else:
            names = self.feature_names
            if names is None:
                names = getattr(X_train, "columns", None)
            self.ax_, self.table_ = draw_table(ax, self.lines_, rows, names, self.unit)
        self.figure_ = self.ax_.figure
        return self


def _check_table(explanation):
    missing = [name for name in _COLUMNS if name not in explanation]
    if missing:
        raise ValueError(
            f"explanation must be a table that SAMInfluence.explain returns, got one without "
            f"{', '.join(missing)}."
        )
    if len(explanation) == 0:
        raise ValueError("explanation must have lines, got none: no row was asked about.")
    _check_few(explanation["query"].nunique(), "explanation has")


def _check_few(n_queries, what):
    if n_queries > _MOST_QUERIES:
        raise ValueError(
            f"{what} {n_queries} queries, more than the {_MOST_QUERIES} that a picture has room "
            "for. Pass fewer, such as those of explain_errors(X, y, n_errors=5)."
        )


def _rows_of(lines, X_query, X_train):
    """The row behind every line, as an array or a text."""
    rows = []
    for line in lines.itertuples():
        of_query = line.role == "query"
        X, position = (X_query, line.query) if of_query else (X_train, line.train_row)
        if position >= num_samples(X):
            name, column = ("X_query", "query") if of_query else ("X_train", "train_row")
            raise ValueError(
                f"{name} has {num_samples(X)} rows, but {column} in explanation points to "
                f"{position}."
            )
        rows.append(_content(take_rows(X, [int(position)])))
    return rows


def _content(row):
    """A single row without its container."""
    for out in ("to_numpy", "toarray"):  # DataFrame, sparse matrix
        row = getattr(row, out)() if hasattr(row, out) else row
    row = np.asarray(row)[0]
    return row[0] if np.shape(row) == (1,) and isinstance(row[0], str) else row


def _unit_of(influence, split):
    """Of the scores of `explain`, or None if they have none."""
    scale = influence.diagnostics_["scale"].iloc[split]
    if callable(influence.evaluation) or scale.startswith(("no unit", "a cosine")):
        return None
    return "logits" if influence.evaluation == "margin" else re.match(r"[^,;:]+", scale)[0]
