"""TraceDisplay: queries and the training rows that harmed and helped them."""

import re

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sam_attribution._as_arrays import from_tensor, values_of
from sam_attribution._row_source import RowSource
from sam_attribution._rows import dataset_as_source
from sam_attribution._validation import check_length, num_samples, take_rows
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import fitted_attributes
from sam_attribution.plotting._trace_images import draw_images
from sam_attribution.plotting._trace_lines import caption_of, lines_of
from sam_attribution.plotting._trace_table import draw_table

_COLUMNS = ["query", "rank", "train_row", "label", "score", "epochs"]
_MOST_QUERIES = 20
_ORDER_ONLY = "trust sign and order"  # in the scale of a method


class TraceDisplay(Display):
    """Training rows that harmed and helped each query most.

    Images are drawn as images; rows of features and texts are drawn as a table. Each training row
    has its label, its score (the predicted rise of the query's loss if the row is removed;
    negative = harmful), and the epochs that contributed most of the score, if the method names
    them. A harmful row has the
    suggested label as well, in bold, if that differs.

    Parameters
    ----------
    explanation : DataFrame
        Table returned by :meth:`SAMInfluence.explain <sam_attribution.SAMInfluence.explain>` or
        ``explain_errors``; its columns `true_label` and `predicted_label` are optional.
    X_query : array-like of shape (n_query, ...)
        Rows to which the column `query` points.
    X_train : array-like of shape (n_samples, ...)
        Rows given to ``fit``, to which the column `train_row` points. Images have shape (h, w),
        (h, w, c) or (c, h, w); rows of numbers are features, strings are texts.
    image_shape : tuple of int, default=None
        Shape of a flat row as an image.
    feature_names : sequence of str, default=None
        Heads of the columns of a table, of which up to 6 are shown; None takes those of a
        DataFrame.
    class_names : sequence or dict, default=None
        Names of the labels 0, 1, ..., or a dict from label to name. None shows the labels.
    unit : str or None, default="nats"
        Unit of the scores; None writes none.
    order_only : bool, default=False
        The scores have an order and no size, as with ``"ekfac"`` (``diagnostics_["scale"]`` of
        SAMInfluence says "trust sign and order"): no unit is written, and the caption says so.
    query_ids : sequence, default=None
        Names of the rows of `X_query`, shown in place of their positions; None takes the index of
        a DataFrame or Series.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    images_ : list of AxesImage
        Images in the order of `lines_`; empty for a table.
    table_ : Table or None
        Table; None for images.
    lines_ : DataFrame
        Content of the display: `role`, `query`, `name` (what the row is called), `train_row` and
        `text`, with a line for each query (`role` is "query") and each training row ("harmed" or
        "helped").

    Examples
    --------
    >>> import pandas as pd
    >>> from sam_attribution.plotting import TraceDisplay
    >>> explanation = pd.DataFrame(
    ...     {
    ...         "query": 0,
    ...         "rank": [1, -1],
    ...         "train_row": [2, 0],
    ...         "label": ["ham", "spam"],
    ...         "most_helpful_label": ["spam", "spam"],
    ...         "score": [-0.2, 0.1],
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
        order_only=False,
        query_ids=None,
    ):
        self.explanation = explanation
        self.X_query = X_query
        self.X_train = X_train
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.class_names = class_names
        self.unit = unit
        self.order_only = order_only
        self.query_ids = query_ids

    @classmethod
    def from_predictions(cls, explanation, X_query, X_train, *, ax=None, **settings):
        """Draw the table of an explanation.

        Parameters
        ----------
        explanation, X_query, X_train
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure of the right size.
        **settings
            `image_shape`, `feature_names`, `class_names`, `unit`, `order_only` and `query_ids`,
            as for the class.

        Returns
        -------
        TraceDisplay

        Raises
        ------
        ValueError
            If the table is empty, has other columns or more than 20 queries, or points to rows
            that do not exist, or if the rows are not images of the given shape.
        """
        return cls(explanation, X_query, X_train, **settings).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls, influence, X_query, y_query, X_train, *, k=3, split=None, ax=None, **settings
    ):
        """Explain queries, right or wrong, and draw the explanation.

        Parameters
        ----------
        influence : SAMInfluence
            Estimator fitted on `X_train`.
        X_query : array-like of shape (n_query, ...)
            Up to 20 rows. For the worst errors among many rows see ``explain_errors`` and
            :meth:`from_predictions`.
        y_query : array-like of shape (n_query,)
            Labels of the queries.
        X_train : array-like of shape (n_samples, ...)
            As for the class.
        k : int, default=3
            Number of harmful and of helpful training rows for each query.
        split : int, optional
            Split whose model is explained, as for ``SAMInfluence.attribute``.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure of the right size.
        **settings
            As for :meth:`from_predictions`. The defaults of `unit` and `order_only` are those of
            the method and the evaluation.

        Returns
        -------
        TraceDisplay

        Raises
        ------
        NotFittedError
            If `influence` is not fitted.
        ValueError
            For the reasons of :meth:`from_predictions` and ``explain``.
        """
        fitted_attributes(influence, ["explain"], argument="influence")
        check_is_fitted(influence)
        _check_few(len(y_query), "X_query has")
        y_query = np.asarray(values_of(y_query, "y_query"))
        table = influence.explain(X_query, y_query, k, split=split)
        predicted = influence.estimators_[split or 0].predict(X_query)
        asked = table["query"].to_numpy()
        table = table.assign(true_label=y_query[asked], predicted_label=predicted[asked])
        scale = influence.diagnostics_["scale"].iloc[split or 0]
        known = {"unit": _unit_of(influence, scale), "order_only": _ORDER_ONLY in scale}
        settings = known | settings
        return cls.from_predictions(table, X_query, X_train, ax=ax, **settings)

    def _plot(self, ax):
        _check_table(self.explanation)
        X_query = from_tensor(self.X_query, "X_query")
        X_train = from_tensor(self.X_train, "X_train")
        names = _names_of(self.query_ids, X_query)
        unit = None if self.order_only else self.unit
        self.lines_ = lines_of(self.explanation, self.class_names, unit, names)
        caption = caption_of(self.lines_, order_only=self.order_only)
        rows = _rows_of(self.lines_, X_query, X_train)
        self.images_, self.table_ = [], None
        if self.image_shape is not None or np.ndim(rows[0]) > 1:
            self.ax_, self.images_ = draw_images(ax, self.lines_, rows, self.image_shape, caption)
        else:
            names = self.feature_names
            if names is None:
                names = getattr(X_train, "columns", None)
            unit = "order only" if self.order_only else self.unit
            self.ax_, self.table_ = draw_table(ax, self.lines_, rows, names, unit, caption)


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
    """List of the rows of all lines, each an array or a text."""
    rows, X_query, X_train = [], dataset_as_source(X_query), dataset_as_source(X_train)
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
    """Array or text of a single row, without its container."""
    row = row[:] if isinstance(row, RowSource) else row
    for out in ("to_numpy", "toarray"):  # DataFrame, sparse matrix
        row = getattr(row, out)() if hasattr(row, out) else row
    row = np.asarray(row)[0]
    return row[0] if np.shape(row) == (1,) and isinstance(row[0], str) else row


def _names_of(query_ids, X_query):
    """Names of the queries, a dict by position; empty if they have none."""
    if query_ids is None:
        return dict(enumerate(X_query.index)) if hasattr(X_query, "iloc") else {}
    check_length(query_ids, "query_ids", num_samples(X_query))
    return dict(enumerate(values_of(query_ids, "query_ids")))


def _unit_of(influence, scale):
    """Unit of the scores of `explain`; None if they have no unit."""
    if callable(influence.evaluation) or scale.startswith(("no unit", "a cosine")):
        return None
    return "logits" if influence.evaluation == "margin" else re.match(r"[^,;:]+", scale)[0]
