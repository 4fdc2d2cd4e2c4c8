"""AgreementDisplay: scores against the effects that retraining measured."""

import numpy as np
from scipy import stats

from sam_attribution.metrics import agreement, over_queries
from sam_attribution.plotting._axes import BLUE, REFERENCE, VERMILLION, axes_for
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import by_name, columns


class AgreementDisplay(Display):
    """Scatter plot of retraining against scores, with a panel for each method.

    On the dashed line a score has the right size. The solid line is fitted to the points; its
    slope is the ratio of measured to predicted effects. The title of a panel gives Pearson
    correlation and slope, as means over the queries if there are several. The panels of a new
    figure have the same axes, so that sizes can be compared.

    Parameters
    ----------
    scores : dict of str to array-like, shape (n_samples,) or (n_query, n_samples), or DataFrame
        Predicted rises of the loss by the name of the method; NaN for a row that was not judged.
        A DataFrame has a column for each method, as ``compare`` returns it; its column ``truth``
        gets no panel if it equals `truth`. The scores of a single method need no dict.
    truth : array-like of shape (n_samples,) or (n_query, n_samples)
        Rises measured by retraining without the row; NaN for a row that was not removed.
    name : str or None, default=None
        Name of a single method.
    unit : str or None, default="nats"
        Unit of the effects, written on the axes; None writes none. Scores without a unit
        (Grad-Dot, TRAK) can be compared by correlation only: with None each panel has an x-axis
        of its own.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
        First panel.
    axes_ : ndarray of Axes, shape (n_methods,)
    points_ : list of PathCollection
    lines_ : list of Line2D
        Fitted lines.
    identity_ : list of AxLine
        Lines of slope 1.
    figures_ : dict of str to DataFrame
        Table of :func:`~sam_attribution.metrics.over_queries` for each method.

    Examples
    --------
    >>> from sam_attribution.plotting import AgreementDisplay
    >>> truth = [0.1, 0.5, 0.9]
    >>> display = AgreementDisplay.from_predictions(
    ...     {"gif": [0, 1, 2], "hif": truth}, truth
    ... )
    >>> print(display.ax_.get_title())
    gif
    Pearson 1.00, slope 0.4
    """

    def __init__(self, scores, truth, *, name=None, unit="nats"):
        self.scores = by_name(columns(scores, truth), name, argument="scores", default="")
        self.truth = truth
        self.unit = unit

    @classmethod
    def from_predictions(cls, scores, truth, *, name=None, unit="nats", ax=None):
        """Draw scores against retraining.

        Parameters
        ----------
        scores, truth, name, unit
            As for the class.
        ax : Axes, sequence of Axes or None, default=None
            Axes to draw on, one for each method; None makes a figure.

        Returns
        -------
        AgreementDisplay

        Raises
        ------
        ValueError
            If scores and truth differ in shape, or there is not one of `ax` for each method.
        """
        return cls(scores, truth, name=name, unit=unit).plot(ax=ax)

    def _plot(self, ax):
        tables = {name: agreement(scores, self.truth) for name, scores in self.scores.items()}
        self.figures_ = {name: over_queries(table) for name, table in tables.items()}
        self.axes_ = axes_for(ax, len(self.scores), sharex=self.unit is not None)
        self.ax_ = self.axes_[0]
        self.points_, self.lines_, self.identity_ = [], [], []
        for panel, (name, scores) in zip(self.axes_, self.scores.items(), strict=True):
            self._draw(panel, *_pairs(scores, self.truth))
            panel.set_title(_title(name, self.figures_[name]), fontsize="medium")
        self._label()

    def _draw(self, ax, scores, truth):
        slope, intercept = _fitted(scores, truth)
        ends = np.array([scores.min(), scores.max()])
        self.points_.append(ax.scatter(scores, truth, s=18, alpha=0.6, color=BLUE, linewidth=0))
        (line,) = ax.plot(ends, intercept + slope * ends, color=VERMILLION, label="fitted line")
        self.lines_.append(line)
        self.identity_.append(
            ax.axline((0, 0), slope=1, linestyle="--", label="right size: slope 1", **REFERENCE)
        )

    def _label(self):
        unit = f" ({self.unit})" if self.unit else ""
        for ax in self.axes_:
            ax.set_xlabel(f"score: predicted rise\nof the loss{unit}")
            ax.ticklabel_format(scilimits=(-4, 4))
            ax.locator_params(axis="x", nbins=4)
            if ax.get_subplotspec() is None or ax.get_subplotspec().is_first_col():
                ax.set_ylabel(f"rise of the loss after training\nwithout the row{unit}")
        self.ax_.legend(loc="best", fontsize="small")


def _pairs(scores, truth):
    """Score and truth of all pairs without NaN, over all queries."""
    scores, truth = np.ravel(np.asarray(scores, float)), np.ravel(np.asarray(truth, float))
    both = ~(np.isnan(scores) | np.isnan(truth))
    return scores[both], truth[both]


def _fitted(scores, truth):
    """Slope and intercept of the least-squares line of truth on scores; NaN if undefined."""
    if np.ptp(scores) == 0:
        return np.nan, np.nan
    line = stats.linregress(scores, truth)
    return line.slope, line.intercept


def _title(name, figures):
    mean, error, n_queries = figures.loc["pearson"]
    spread, several = "", ""
    if n_queries > 1:
        spread, several = f" ± {error:.2f}", f"\nmeans over {n_queries:.0f} queries"
    slope = figures.loc["slope", "mean"]
    return f"{name}\nPearson {mean:.2f}{spread}, slope {slope:.2g}{several}".strip()
