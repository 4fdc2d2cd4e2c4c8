"""ScoreDistributionDisplay: scores of the rows of each class."""

import numpy as np

from sam_attribution._class_names import class_texts
from sam_attribution._row_order import check_results
from sam_attribution._validation import check_column, check_mask
from sam_attribution.plotting._axes import REFERENCE, VERMILLION, axes_for
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import fitted_attributes

_WIDTH, _BINS = 0.42, 40
_GOLDEN = 0.6180339887498949


class ScoreDistributionDisplay(Display):
    """Scores of all rows by given label, with the suspicious rows highlighted.

    Each class has a line and each row a dot; dots spread out where many rows have about the same
    score. The number of suspicious rows of each class stands at the right.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Low = suspicious. Rows that were not judged (NaN) are not shown; the legend counts them.
    labels : array-like of shape (n_samples,)
        Labels in the data.
    suspicious : array-like of bool, shape (n_samples,), default=None
        Mask of the suspicious rows. None takes the rows below `threshold`, if that is given.
    threshold : float, default=None
        Score of the dashed line. None draws it halfway between the suspicious rows and the
        others, if one number separates them.
    class_names : sequence or dict, default=None
        Names in the order of the sorted labels, or a dict from label to name. None shows the
        labels.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    points_ : list of PathCollection
        Rows of each class that are not suspicious.
    suspicious_points_ : list of PathCollection
        Suspicious rows of each class.
    threshold_line_ : Line2D or None
        Line at the threshold; None if there is no threshold.

    Examples
    --------
    >>> from sam_attribution.plotting import ScoreDistributionDisplay
    >>> display = ScoreDistributionDisplay.from_predictions(
    ...     [-2.0, 0.5, 1.0, 0.8], ["cat", "cat", "dog", "dog"], threshold=0.0
    ... )
    >>> display.suspicious_points_[0].get_offsets()[:, 0].tolist()
    [-2.0]
    """

    def __init__(self, scores, labels, *, suspicious=None, threshold=None, class_names=None):
        self.scores = scores
        self.labels = labels
        self.suspicious = suspicious
        self.threshold = threshold
        self.class_names = class_names

    @classmethod
    def from_predictions(
        cls, scores, labels, *, suspicious=None, threshold=None, class_names=None, ax=None
    ):
        """Draw scores by label.

        Parameters
        ----------
        scores, labels, suspicious, threshold, class_names
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        ScoreDistributionDisplay

        Raises
        ------
        ValueError
            If lengths differ or no row has a score.
        """
        display = cls(
            scores, labels, suspicious=suspicious, threshold=threshold, class_names=class_names
        )
        return display.plot(ax=ax)

    @classmethod
    def from_estimator(cls, detector, *, class_names=None, ax=None):
        """Draw the scores of a fitted detector.

        Parameters
        ----------
        detector : estimator
            Fitted estimator with ``scores_``, ``given_labels_`` and ``suspicious_``, such as a
            MislabelDetector.
        class_names : sequence or dict, default=None
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        ScoreDistributionDisplay

        Raises
        ------
        NotFittedError
            If the detector lacks one of these attributes.
        """
        scores, labels, suspicious = fitted_attributes(
            detector, ["scores_", "given_labels_", "suspicious_"]
        )
        return cls.from_predictions(
            scores, labels, suspicious=suspicious, class_names=class_names, ax=ax
        )

    def _plot(self, ax):
        found = {"scores": self.scores, "suspicious": self.suspicious}
        check_results({"labels": self.labels}, **found)
        scores = check_column(self.scores, "scores", dtype="float64")
        labels = check_column(self.labels, "labels", len(scores))
        judged = ~np.isnan(scores)
        if not judged.any():
            raise ValueError("scores must hold a number, got NaN for every row.")
        suspicious, threshold = self._separated(scores, judged)
        classes = np.unique(labels)
        names = class_texts(classes, self.class_names, classes)
        (self.ax_,) = axes_for(ax, 1, size=(7.0, 1.6 + 0.5 * max(len(classes), 3)))
        self.points_, self.suspicious_points_ = [], []
        for height, label in enumerate(classes):
            rows = judged & (labels == label)
            self._draw_class(height, scores[rows], suspicious[rows])
        self.threshold_line_ = None if threshold is None else self._draw_threshold(threshold)
        self._label(names, int((~judged).sum()), bool(suspicious.any()))

    def _separated(self, scores, judged):
        """Mask of the suspicious rows, and the score that separates them from the others."""
        if self.suspicious is None:
            if self.threshold is None:
                return np.zeros(len(scores), dtype=bool), None
            return judged & (scores < self.threshold), self.threshold
        suspicious = judged & check_mask(self.suspicious, "suspicious", len(scores))
        if self.threshold is not None:
            return suspicious, self.threshold
        low, high = scores[suspicious], scores[judged & ~suspicious]
        parts = len(low) and len(high) and low.max() < high.min()
        return suspicious, (low.max() + high.min()) / 2 if parts else None

    def _draw_class(self, height, scores, suspicious):
        y = height + _spread(scores)
        looks = {"linewidth": 0, "rasterized": len(scores) > 2000}
        self.points_.append(
            self.ax_.scatter(
                scores[~suspicious], y[~suspicious], s=9, color="0.55", alpha=0.7, **looks
            )
        )
        self.suspicious_points_.append(
            self.ax_.scatter(
                scores[suspicious], y[suspicious], s=22, marker="D", color=VERMILLION, **looks
            )
        )
        self.ax_.text(
            1.015,
            height,
            f"{suspicious.sum()} of {len(scores)}",
            transform=self.ax_.get_yaxis_transform(),
            va="center",
            fontsize="small",
            color=VERMILLION if suspicious.any() else "0.35",
        )

    def _draw_threshold(self, threshold):
        label = f"threshold {threshold:.3g}"
        return self.ax_.axvline(threshold, linestyle="--", label=label, **REFERENCE)

    def _label(self, names, n_unjudged, any_suspicious):
        self.ax_.set(xlabel="score (low = suspicious)", ylabel="given label")
        self.ax_.set_yticks(range(len(names)), names, parse_math=False)
        self.ax_.set_ylim(len(names) - 0.4, -0.6)  # the first class on top
        self.ax_.text(
            1.015, 1.01, "suspicious", transform=self.ax_.transAxes, fontsize="small", va="bottom"
        )
        shown = [self.points_[0]]
        self.points_[0].set_label("not suspicious" if any_suspicious else "row")
        if any_suspicious:
            self.suspicious_points_[0].set_label("suspicious")
            shown.append(self.suspicious_points_[0])
        if self.threshold_line_ is not None:
            shown.append(self.threshold_line_)
        not_shown = f" ({n_unjudged} not judged)" if n_unjudged else ""
        self.ax_.legend(
            handles=shown,
            title=f"every dot is a row{not_shown}",
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=3,
            frameon=False,
        )


def _spread(scores):
    """Offsets within a line, evenly spread and wide where scores are dense."""
    if len(scores) == 0:
        return scores
    counts, edges = np.histogram(scores, bins=_BINS)
    density = counts[np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, _BINS - 1)]
    even = (np.arange(len(scores)) * _GOLDEN) % 1 - 0.5  # a sequence that fills the line evenly
    return 2 * _WIDTH * even * density / counts.max()
