"""WhatIfDisplay: probability of each label for the most suspicious rows."""

from numbers import Integral

import numpy as np
from scipy.special import softmax
from sklearn.utils import check_scalar

from sam_attribution._class_names import class_texts
from sam_attribution._row_order import check_results
from sam_attribution._validation import check_column, check_numbers, classes_of, codes_among
from sam_attribution.plotting._axes import VERMILLION, axes_for, name_columns
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import fitted_attributes


class WhatIfDisplay(Display):
    """Heat map with a line for each of the most suspicious rows and a column for each label.

    The colour of a cell is the probability that the label is the right one for the row. A circle
    marks the given label of the row. The brightest cell of a line is the suggested label.

    Parameters
    ----------
    label_log_proba : array-like of shape (n_samples, n_classes)
        Log-probability of each label of each row. Logits are taken as well.
    given : array-like of shape (n_samples,)
        Labels in the data.
    scores : array-like of shape (n_samples,), default=None
        Low = suspicious. The lowest scores come first, rows without a score (NaN) are not shown.
        None shows the first rows.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns; None takes the labels in `given`, sorted.
    class_names : sequence or dict, default=None
        Names in the order of `classes`, or a dict from label to name. None shows the labels.
    k : int, default=20
        Number of rows to show.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    rows_ : ndarray of int, shape (n_lines,)
        Positions of the rows shown, from the top.
    image_ : AxesImage
        Probabilities.
    given_marks_ : PathCollection
        Circles at the given labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.plotting import WhatIfDisplay
    >>> log_proba = np.log([[0.1, 0.9], [0.7, 0.3], [0.02, 0.98]])
    >>> display = WhatIfDisplay.from_predictions(
    ...     log_proba, ["cat", "cat", "dog"], scores=[-2.0, 2.0, 4.0], k=2
    ... )
    >>> display.rows_
    array([0, 1])
    """

    def __init__(
        self, label_log_proba, given, *, scores=None, classes=None, class_names=None, k=20
    ):
        self.label_log_proba = label_log_proba
        self.given = given
        self.scores = scores
        self.classes = classes
        self.class_names = class_names
        self.k = k

    @classmethod
    def from_predictions(cls, label_log_proba, given, *, ax=None, **settings):
        """Draw the probabilities of labels.

        Parameters
        ----------
        label_log_proba, given
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.
        **settings
            `scores`, `classes`, `class_names` and `k`, as for the class.

        Returns
        -------
        WhatIfDisplay

        Raises
        ------
        ValueError
            If shapes do not fit together, or a label is not among the classes.
        """
        return cls(label_log_proba, given, **settings).plot(ax=ax)

    @classmethod
    def from_estimator(cls, detector, *, k=20, class_names=None, ax=None):
        """Draw the most suspicious rows of a fitted detector.

        Parameters
        ----------
        detector : estimator
            Fitted estimator with ``label_log_proba_``, ``given_labels_``, ``scores_`` and
            ``classes_``, such as a MislabelDetector.
        k, class_names
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
        names = ["label_log_proba_", "given_labels_", "scores_", "classes_"]
        log_proba, given, scores, classes = fitted_attributes(detector, names)
        return cls.from_predictions(
            log_proba, given, scores=scores, classes=classes, class_names=class_names, k=k, ax=ax
        )

    def _plot(self, ax):
        check_scalar(self.k, "k", Integral, min_val=1)
        table = check_numbers(self.label_log_proba, "label_log_proba", n_axes=(2,), finite=False)
        classes, given = self._codes(table)
        names = class_texts(classes, self.class_names, classes)
        self.rows_ = self._most_suspicious(table)
        (self.ax_,) = axes_for(
            ax, 1, size=(3.6 + 0.45 * max(len(names), 4), 1.7 + 0.26 * max(len(self.rows_), 6))
        )
        shown = softmax(table[self.rows_], axis=1)
        self.image_ = self.ax_.imshow(shown, cmap="cividis", aspect="auto", vmin=0, vmax=1)
        bar = self.ax_.figure.colorbar(self.image_, ax=self.ax_, fraction=0.05)
        bar.set_label("probability of the label")
        self._mark(given[self.rows_])
        self._label(names)

    def _codes(self, table):
        """Labels of the columns, and positions of the given labels among them."""
        found = {"label_log_proba": self.label_log_proba, "scores": self.scores}
        check_results({"given": self.given}, **found)
        classes = classes_of(self.given, "given")
        classes = classes if self.classes is None else np.asarray(self.classes)
        if len(classes) != table.shape[1]:
            raise ValueError(
                f"label_log_proba must have a column for each of {len(classes)} classes, got "
                f"{table.shape[1]}. Name them all: classes=."
            )
        order = np.argsort(classes)
        given = check_column(self.given, "given", len(table))
        return classes, order[codes_among(classes[order], given, "given")]

    def _most_suspicious(self, table):
        judged = ~np.isnan(table).any(1)
        order = np.arange(len(table))
        if self.scores is not None:
            scores = check_column(self.scores, "scores", len(table), dtype="float64")
            order, judged = np.argsort(scores, kind="stable"), judged & ~np.isnan(scores)
        rows = order[judged[order]][: self.k]
        if len(rows) == 0:
            raise ValueError("label_log_proba and scores must hold numbers, got NaN in every row.")
        return rows

    def _mark(self, given):
        self.given_marks_ = self.ax_.scatter(
            given,
            np.arange(len(self.rows_)),
            s=34,
            color=VERMILLION,
            edgecolors="white",
            linewidths=0.8,
            label="given label",
        )

    def _label(self, names):
        name_columns(self.ax_, names)
        self.ax_.set_yticks(range(len(self.rows_)), self.rows_)
        order = "" if self.scores is None else ", most suspicious on top"
        self.ax_.set(xlabel="label", ylabel=f"training row{order}")
        self.ax_.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
