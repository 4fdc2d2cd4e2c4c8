"""WhatIfDisplay: fit of each label to the most suspicious rows."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar

from sam_attribution._class_names import class_texts
from sam_attribution._row_order import check_order
from sam_attribution._validation import check_column, check_numbers, classes_of, codes_among
from sam_attribution.plotting._axes import VERMILLION, axes_for, name_columns
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import fitted_attributes


class WhatIfDisplay(Display):
    """Heat map with a line for each of the most suspicious rows and a column for each label.

    A bright cell means that the label fits the row. A circle marks the given label of the row, a
    star the suggested label.

    Parameters
    ----------
    what_if : array-like of shape (n_samples, n_classes)
        Fit of each label to each row, such as a log-probability; higher is better.
    given : array-like of shape (n_samples,)
        Labels in the data.
    suggested : array-like of shape (n_samples,), default=None
        Suggested labels. None takes the label that fits best.
    scores : array-like of shape (n_samples,), default=None
        Low = suspicious. The lowest scores come first, rows without a score (NaN) are not shown.
        None shows the first rows.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns; None takes the labels in `given`, sorted.
    class_names : sequence or dict, default=None
        Names in the order of `classes`, or a dict from label to name. None shows the labels.
    k : int, default=20
        Number of rows to show.
    normalize : bool, default=True
        Scale each line from its worst label (0) to its best label (1). Otherwise the colours show
        the numbers themselves.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    rows_ : ndarray of int, shape (n_lines,)
        Positions of the rows shown, from the top.
    image_ : AxesImage
    given_marks_, suggested_marks_ : PathCollection

    Examples
    --------
    >>> from sam_attribution.plotting import WhatIfDisplay
    >>> what_if = [[0.0, 2.0], [3.0, 1.0], [0.0, 4.0]]
    >>> display = WhatIfDisplay.from_predictions(
    ...     what_if, ["cat", "cat", "dog"], scores=[-2.0, 2.0, 4.0], k=2
    ... )
    >>> display.rows_
    array([0, 1])
    """

    def __init__(
        self,
        what_if,
        given,
        *,
        suggested=None,
        scores=None,
        classes=None,
        class_names=None,
        k=20,
        normalize=True,
    ):
        self.what_if = what_if
        self.given = given
        self.suggested = suggested
        self.scores = scores
        self.classes = classes
        self.class_names = class_names
        self.k = k
        self.normalize = normalize

    @classmethod
    def from_predictions(cls, what_if, given, *, ax=None, **settings):
        """Draw the fit of labels to rows.

        Parameters
        ----------
        what_if, given
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.
        **settings
            `suggested`, `scores`, `classes`, `class_names`, `k` and `normalize`, as for the class.

        Returns
        -------
        WhatIfDisplay

        Raises
        ------
        ValueError
            If shapes do not fit together, or a label is not among the classes.
        """
        return cls(what_if, given, **settings).plot(ax=ax)

    @classmethod
    def from_estimator(cls, detector, *, k=20, class_names=None, normalize=True, ax=None):
        """Draw the most suspicious rows of a fitted detector.

        Parameters
        ----------
        detector : estimator
            Fitted estimator with ``label_log_proba_``, ``given_labels_``, ``suggested_labels_``,
            ``scores_`` and ``classes_``, such as a MislabelDetector.
        k, class_names, normalize
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        WhatIfDisplay

        Raises
        ------
        NotFittedError
            If the detector lacks one of these attributes.
        ValueError
            If the detector is that of a regression: it has no classes.
        """
        names = ["label_log_proba_", "given_labels_", "suggested_labels_", "scores_", "classes_"]
        what_if, given, suggested, scores, classes = fitted_attributes(detector, names)
        return cls.from_predictions(
            what_if,
            given,
            suggested=suggested,
            scores=scores,
            classes=classes,
            class_names=class_names,
            k=k,
            normalize=normalize,
            ax=ax,
        )

    def _plot(self, ax):
        check_scalar(self.k, "k", Integral, min_val=1)
        table = check_numbers(self.what_if, "what_if", n_axes=(2,), finite=False)
        classes, given, suggested = self._codes(table)
        names = class_texts(classes, self.class_names, classes)
        self.rows_ = self._most_suspicious(table)
        (self.ax_,) = axes_for(
            ax, 1, size=(3.6 + 0.45 * max(len(names), 4), 1.7 + 0.26 * max(len(self.rows_), 6))
        )
        shown = table[self.rows_]
        shown = _from_worst_to_best(shown) if self.normalize else shown
        self.image_ = self.ax_.imshow(shown, cmap="cividis", aspect="auto")
        unit = "0 = worst label of the row, 1 = best" if self.normalize else "higher = better"
        bar = self.ax_.figure.colorbar(self.image_, ax=self.ax_, fraction=0.05)
        bar.set_label(f"fit of the label ({unit})", fontsize="small")
        self._mark(given[self.rows_], suggested[self.rows_])
        self._label(names)

    def _codes(self, table):
        """Labels of the columns, and positions of the given and suggested labels among them."""
        check_order(given=self.given, suggested=self.suggested, scores=self.scores)
        classes = classes_of(self.given, "given")
        classes = classes if self.classes is None else np.asarray(self.classes)
        if len(classes) != table.shape[1]:
            raise ValueError(
                f"what_if must have a column for each of {len(classes)} classes, got "
                f"{table.shape[1]}. Name them all: classes=."
            )
        given = _positions(classes, self.given, "given", len(table))
        if self.suggested is None:
            return classes, given, np.where(np.isnan(table), -np.inf, table).argmax(1)
        return classes, given, _positions(classes, self.suggested, "suggested", len(table))

    def _most_suspicious(self, table):
        judged = ~np.isnan(table).any(1)
        order = np.arange(len(table))
        if self.scores is not None:
            scores = check_column(self.scores, "scores", len(table), dtype="float64")
            order, judged = np.argsort(scores, kind="stable"), judged & ~np.isnan(scores)
        rows = order[judged[order]][: self.k]
        if len(rows) == 0:
            raise ValueError("what_if and scores must hold numbers, got NaN in every row.")
        return rows

    def _mark(self, given, suggested):
        lines = np.arange(len(self.rows_))
        edges = {"edgecolors": "white", "linewidths": 0.8}
        self.suggested_marks_ = self.ax_.scatter(
            suggested, lines, marker="*", s=90, color="black", label="suggested label", **edges
        )
        self.given_marks_ = self.ax_.scatter(
            given, lines, marker="o", s=34, color=VERMILLION, label="given label", **edges
        )

    def _label(self, names):
        name_columns(self.ax_, names)
        self.ax_.set_yticks(range(len(self.rows_)), self.rows_)
        order = "" if self.scores is None else ", most suspicious on top"
        self.ax_.set(xlabel="if the row carried this label", ylabel=f"training row{order}")
        self.ax_.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small"
        )


def _positions(classes, labels, name, n_rows):
    """Positions of `labels` in `classes`, which may have any order."""
    order = np.argsort(classes)
    return order[codes_among(classes[order], check_column(labels, name, n_rows), name)]


def _from_worst_to_best(table):
    low = table.min(1, keepdims=True)
    width = np.ptp(table, axis=1, keepdims=True)
    return (table - low) / np.where(width == 0, 1, width)
