"""FurtherTrainingDisplay: similarity to further training by the amount of training."""

from sam_attribution.metrics import similarity_curve
from sam_attribution.plotting._axes import REFERENCE, axes_for, curve_styles, legend_beside
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import by_name


class FurtherTrainingDisplay(Display):
    """Cosine similarity of scores and further training, with a curve for each method.

    Parameters
    ----------
    curves : dict of str to DataFrame
        Table of :func:`~sam_attribution.metrics.similarity_curve` by the name of the method. The
        table of a single method needs no dict.
    name : str or None, default=None
        Name of a single method.
    amount_name : str, default="epochs"
        Unit of the amounts, written on the axis.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    lines_ : list of Line2D
        Means over queries, in the order of `curves`.
    bands_ : list of FillBetweenPolyCollection
        Bands of one standard error to both sides.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.plotting import FurtherTrainingDisplay
    >>> truth = np.random.default_rng(0).normal(
    ...     size=(3, 2, 10)
    ... )  # 3 amounts, 2 queries, 10 rows
    >>> display = FurtherTrainingDisplay.from_predictions(
    ...     {"if": truth[2]}, truth, [1, 5, 20]
    ... )
    >>> display.lines_[0].get_xdata()
    array([ 1.,  5., 20.])
    """

    def __init__(self, curves, *, name=None, amount_name="epochs"):
        self.curves = by_name(curves, name, argument="curves", default="scores")
        self.amount_name = amount_name

    @classmethod
    def from_predictions(cls, scores, truth, amounts, *, name=None, amount_name="epochs", ax=None):
        """Compare methods with further training, and draw the curves.

        Parameters
        ----------
        scores : dict of str to array-like, shape (n_query, n_left_out) or (n_left_out,)
            Predicted rises of the loss by the name of the method. The scores of a single method
            need no dict.
        truth : array-like of shape (n_amounts, n_query, n_left_out) or (n_amounts, n_left_out)
            Rises measured by further training.
        amounts : array-like of shape (n_amounts,)
            Amounts of further training.
        name : str or None, default=None
            Name of a single method.
        amount_name : str, default="epochs"
            Unit of the amounts, written on the axis.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        FurtherTrainingDisplay
        """
        scores = by_name(scores, name, argument="scores", default="scores")
        curves = {key: similarity_curve(values, truth, amounts) for key, values in scores.items()}
        return cls(curves, amount_name=amount_name).plot(ax=ax)

    def _plot(self, ax):
        (self.ax_,) = axes_for(ax, 1)
        self.ax_.axhline(0, **REFERENCE)
        drawn = [
            _draw(self.ax_, name, curve, style)
            for (name, curve), style in zip(self.curves.items(), curve_styles(), strict=False)
        ]
        self.lines_, self.bands_ = [line for line, _ in drawn], [band for _, band in drawn]
        self.ax_.set(
            xlabel=f"amount of further training ({self.amount_name})",
            ylabel="cosine of scores and effects\n(1 = perfect, 0 = no relation)",
            title="How well scores predict further training\n"
            "(mean over queries ± 1 standard error)",
        )
        self.ax_.title.set_fontsize("medium")
        legend_beside(self.ax_)


def _draw(ax, name, curve, style):
    amounts, mean = curve.index.to_numpy(), curve["mean"].to_numpy()
    error = curve["standard_error"].to_numpy()
    (line,) = ax.plot(amounts, mean, label=name, **style)
    band = ax.fill_between(
        amounts, mean - error, mean + error, color=style["color"], alpha=0.2, linewidth=0
    )
    return line, band
