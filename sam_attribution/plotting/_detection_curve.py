"""DetectionCurveDisplay: wrong labels found by the share of rows inspected."""

from itertools import islice
from numbers import Real

import numpy as np
from sklearn.utils import check_scalar

from sam_attribution._row_order import check_order_of_fit, check_results
from sam_attribution._validation import check_column, check_mask
from sam_attribution.metrics import detection, detection_curve
from sam_attribution.plotting._axes import REFERENCE, axes_for, curve_styles
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import by_name, columns, fitted_attributes

_CURVE, _RANDOM, _ORACLE = "detection curve", "detection curve: random", "detection curve: oracle"


class DetectionCurveDisplay(Display):
    """Share of the wrong labels found, by the share of rows inspected, lowest score first.

    A higher curve means less work. Two reference lines show an oracle that lists wrong labels
    first (dotted) and rows in random order (dashed). Further displays on the same Axes take the
    next colours.

    Parameters
    ----------
    is_wrong : array-like of bool, shape (n_samples,)
        Mask of the labels that are known to be wrong.
    scores : array-like of shape (n_samples,), or dict of str to such, or DataFrame
        Scores of one scorer, or of several by name; each column of a DataFrame is a scorer. Low =
        suspicious. Rows that were not judged (NaN) are inspected last, in random order.
    name : str or None, default=None
        Name of a single scorer.
    recall_at : float or None, default=None
        Share of the rows, from 0 to 1, for which the legend gives the share of wrong labels
        found; a line marks it. None gives the area (ROC AUC) instead.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    lines_ : list of Line2D
        Curves in the order of `scores`, in per cent.
    random_line_, oracle_line_ : Line2D
        Reference lines; equal ones that are on the Axes already are used again.
    figures_ : dict of str to Series
        Area and recall over all rows, as :func:`~sam_attribution.metrics.detection` returns them.

    See Also
    --------
    sam_attribution.metrics.detection_curve : The curve as numbers, over the judged rows only.

    Examples
    --------
    >>> from sam_attribution.plotting import DetectionCurveDisplay
    >>> is_wrong = [True, False, False, True]
    >>> display = DetectionCurveDisplay.from_predictions(
    ...     is_wrong, [-2, 1, 0.5, 0.7], name="gif"
    ... )
    >>> display.lines_[0].get_ydata()
    array([  0.,  50.,  50., 100., 100.])
    >>> display.lines_[0].get_label()
    'gif, AUC 0.750'
    """

    def __init__(self, is_wrong, scores, *, name=None, recall_at=None):
        self.is_wrong = is_wrong
        self.scores = by_name(columns(scores), name, argument="scores", default="scores")
        self.recall_at = recall_at

    @classmethod
    def from_predictions(cls, is_wrong, scores, *, name=None, recall_at=None, ax=None):
        """Draw the curve of scores for known wrong labels.

        Parameters
        ----------
        is_wrong, scores, name, recall_at
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        DetectionCurveDisplay

        Raises
        ------
        ValueError
            If lengths differ, no label or every label is wrong, or `recall_at` is not from 0 to 1.
        """
        return cls(is_wrong, scores, name=name, recall_at=recall_at).plot(ax=ax)

    @classmethod
    def from_estimator(cls, detector, is_wrong, *, name=None, recall_at=None, ax=None):
        """Draw the curve of a fitted estimator with ``scores_``.

        Parameters
        ----------
        detector : estimator
            Estimator fitted on the rows of `is_wrong`, such as a MislabelDetector, a SAMInfluence
            or a FilteredClassifier.
        is_wrong, recall_at
            As for the class.
        name : str or None, default=None
            Name in the legend. None takes the name of the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        DetectionCurveDisplay

        Raises
        ------
        NotFittedError
            If the estimator has no ``scores_``.
        """
        (scores,) = fitted_attributes(detector, ["scores_"])
        check_order_of_fit(getattr(detector, "_index", None), is_wrong=is_wrong)
        name = type(detector).__name__ if name is None else name
        return cls.from_predictions(is_wrong, scores, name=name, recall_at=recall_at, ax=ax)

    def _plot(self, ax):
        if self.recall_at is not None:
            check_scalar(self.recall_at, "recall_at", Real, min_val=0, max_val=1)
        found = {name: self._found(scores) for name, scores in self.scores.items()}
        self.figures_ = {name: figures for name, (_, figures) in found.items()}
        (self.ax_,) = axes_for(ax, 1)
        drawn = sum(line.get_gid() == _CURVE for line in self.ax_.lines)
        styles = islice(curve_styles(), drawn, None)
        self.lines_ = [
            self._draw(name, *each, style)
            for (name, each), style in zip(found.items(), styles, strict=False)
        ]
        self._draw_references(np.mean(check_mask(self.is_wrong, "is_wrong")))
        self.ax_.set(
            xlabel="rows inspected (%), most suspicious first",
            ylabel="wrong labels found (%)",
            xlim=(0, 100),
            ylim=(0, 103),
        )
        lines = sorted(self.ax_.lines, key=lambda line: line.get_gid() != _CURVE)
        shown = [line for line in lines if line.get_gid() in (_CURVE, _ORACLE, _RANDOM)]
        self.ax_.legend(handles=shown, loc="lower right", fontsize="small")

    def _found(self, scores):
        """Detection curve of the scores, and its figures."""
        check_results({"is_wrong": self.is_wrong}, scores=scores)
        scores = _unjudged_last(check_column(scores, "scores", dtype="float64"))
        wrong = check_mask(self.is_wrong, "is_wrong", len(scores))
        if wrong.all() or not wrong.any():
            raise ValueError(f"is_wrong must hold True and False, got only {wrong[0]}.")
        inspected = () if self.recall_at is None else (self.recall_at,)
        figures = detection(scores, wrong, inspected=np.array([*inspected, 1.0]))
        return detection_curve(scores, wrong), figures

    def _draw(self, name, curve, figures, style):
        inspected, found = curve
        (line,) = self.ax_.plot(
            100 * inspected,
            100 * found,
            label=f"{name}, {self._summary(figures)}",
            markevery=0.12,
            gid=_CURVE,
            **style,
        )
        return line

    def _summary(self, figures):
        if self.recall_at is None:
            return f"AUC {figures['auc']:.3f}"
        share = f"{100 * self.recall_at:g}%"
        return f"{figures[f'recall at {share}']:.0%} found in the first {share}"

    def _draw_references(self, share_wrong):
        if self.recall_at is not None:
            self.ax_.axvline(100 * self.recall_at, color="0.8", linewidth=1, zorder=0)
        x = [0, 100 * share_wrong, 100]
        self.oracle_line_ = self._reference(
            x, [0, 100, 100], ":", label="oracle: wrong labels only", gid=_ORACLE
        )
        self.random_line_ = self._reference(
            [0, 100], [0, 100], "--", label="rows in random order", gid=_RANDOM
        )

    def _reference(self, x, y, linestyle, *, label, gid):
        """Reference line, which may be an equal one of an earlier display on these Axes."""
        for line in self.ax_.lines:
            if line.get_gid() == gid and np.array_equal(line.get_data(), [x, y]):
                return line
        return self.ax_.plot(x, y, linestyle, label=label, gid=gid, zorder=1, **REFERENCE)[0]


def _unjudged_last(scores):
    judged = ~np.isnan(scores)
    if not judged.any():
        raise ValueError("scores must hold a number, got NaN for every row.")
    return np.where(judged, scores, np.nextafter(scores[judged].max(), np.inf))
