"""RemovalCurveDisplay: accuracy by the share of rows removed."""

from numbers import Real

import pandas as pd
from sklearn.base import is_classifier, is_regressor

from sam_attribution._validation import Interval, StrOptions, check_arguments
from sam_attribution.metrics import removal_curve
from sam_attribution.plotting._axes import axes_for, curve_styles, legend_beside
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import by_name, columns
from sam_attribution.plotting._removal_curve_data import (
    ScoreAfterRemoval,
    ScoreAfterReplay,
    curve_of,
    scores_to_try,
    warn_of_lost_classes,
)

_RULES = {
    "refit": [StrOptions({"retrain", "replay"})],
    "share": [Interval(Real, 0, 1, closed="right")],
}


class RemovalCurveDisplay(Display):
    """Accuracy by the share of rows removed, lowest scores first or at random.

    Parameters
    ----------
    curves : dict of str to DataFrame
        Table of :func:`~sam_attribution.metrics.removal_curve` by the name of the method. The
        random removals of all tables make one band. The table of a single method needs no dict.
        The tables of several runs, one below the other (``pandas.concat``), are drawn as their
        mean with bars.
    name : str or None, default=None
        Name of a single method.
    value_name : str, default="accuracy"
        Name of the value measured after training again.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    lines_ : list of Line2D
        Curves in the order of `curves`: the means over the runs.
    bars_ : list of ErrorbarContainer
        Range of the runs, from the lowest to the highest value, for each curve with several runs.
    random_line_ : Line2D or None
        Mean over the random removals; None if there are none.
    random_band_ : FillBetweenPolyCollection or None
        Range of the random removals, from the lowest to the highest value.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.plotting import RemovalCurveDisplay
    >>> right = np.array([False, True, True, True])
    >>> def share_right(kept):
    ...     return right[kept].mean()
    >>> display = RemovalCurveDisplay.from_scores(
    ...     [-1, 0.5, 0.1, 0.2],
    ...     share_right,
    ...     name="gif",
    ...     fractions=[0, 0.25],
    ...     random_state=0,
    ... )
    >>> display.lines_[0].get_ydata()
    array([0.75, 1.  ])
    """

    def __init__(self, curves, *, name=None, value_name="accuracy"):
        self.curves = by_name(curves, name, argument="curves", default="lowest scores")
        self.value_name = value_name

    @classmethod
    def from_predictions(
        cls,
        fractions,
        accuracy,
        *,
        random_accuracy=None,
        name=None,
        value_name="accuracy",
        ax=None,
    ):
        """Draw accuracies that are known already.

        Parameters
        ----------
        fractions : array-like of shape (n_fractions,)
            Shares of the rows removed, each in [0, 1).
        accuracy : array-like of shape (n_fractions,), or dict of str to such, or DataFrame
            Accuracy after training without the lowest scores of one method, or of several by name.
            An array of shape (n_runs, n_fractions) holds several runs, such as seeds.
        random_accuracy : array-like of shape (n_draws, n_fractions), default=None
            Accuracy after training without as many random rows.
        name : str or None, default=None
            Name of a single method.
        value_name : str, default="accuracy"
            Name of the value measured after training again.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        RemovalCurveDisplay

        Raises
        ------
        ValueError
            If the shapes do not fit together, or a fraction lies outside [0, 1).
        """
        accuracy = by_name(columns(accuracy), name, argument="accuracy", default="lowest scores")
        curves = {
            method: curve_of(fractions, values, None if position else random_accuracy)
            for position, (method, values) in enumerate(accuracy.items())
        }
        return cls(curves, value_name=value_name).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        X_test,
        y_test,
        scores=None,
        scorer=None,
        name=None,
        fractions=(0, 0.05, 0.1, 0.2, 0.3),
        n_random=5,
        refit="retrain",
        share=0.1,
        random_state=None,
        n_jobs=None,
        verbose=0,
        value_name=None,
        ax=None,
    ):
        """Train an estimator again without the lowest scores and without random rows.

        Parameters
        ----------
        estimator : classifier or regressor
            Estimator that is cloned for every training.
        X : array-like of shape (n_samples, ...)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels of the training rows, some of them possibly wrong.
        X_test, y_test : array-like
            Rows with right labels, on which the trained estimators are scored.
        scores : array-like of shape (n_samples,), or dict of str to such, or DataFrame
            As for :meth:`from_scores`. Either `scores` or `scorer` must be given.
        scorer : estimator
            Estimator that has ``scores_`` after ``fit(X, y)``, such as a SAMInfluence or a
            MislabelDetector. A fitted one must have been fitted on these rows; otherwise a clone
            is fitted.
        name : str or None, default=None
            Name of a single method; None takes the name of the scorer's class.
        fractions, n_random, n_jobs, verbose
            As for :func:`~sam_attribution.metrics.removal_curve`.
        refit : {"retrain", "replay"}, default="retrain"
            ``"retrain"`` trains a clone for every removal. ``"replay"`` trains one on all rows, and
            repeats the end of its training without the removed rows (at fraction 0 with all), as
            :meth:`SAMInfluence.remove <sam_attribution.SAMInfluence.remove>` does: for a net of
            this package, or a Pipeline that ends in one, whose training is recorded. Such a model
            has seen the rows before, so that removing right rows costs it less.
        share : float, default=0.1
            Share of the training steps that ``"replay"`` repeats.
        random_state : int, RandomState instance or None, default=None
            Seed for the random rows and for every ``random_state`` of the clones that is None.
            All clones get the same seed, so that trainings differ in their rows only.
        value_name : str or None, default=None
            Name of the value. None means "accuracy", and "R²" for a regressor.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        RemovalCurveDisplay

        Raises
        ------
        TypeError, ValueError
            If not exactly one of `scores` and `scorer` is given, or they do not fit the rows; if
            the training is to be replayed and cannot be, or diverges then.

        Warns
        -----
        AttributionWarning
            If a removal takes every row of a class: there the curve has no value. If a replay
            raises the loss of the kept rows by more than a quarter (and that of a classifier by
            more than 0.01).

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sam_attribution.plotting import RemovalCurveDisplay
        >>> X, y = load_iris(return_X_y=True)
        >>> display = RemovalCurveDisplay.from_estimator(
        ...     LogisticRegression(max_iter=500),
        ...     X[::2],
        ...     y[::2],
        ...     X_test=X[1::2],
        ...     y_test=y[1::2],
        ...     scores=X[::2, 0],
        ...     fractions=[0, 0.1],
        ...     n_random=2,
        ...     random_state=0,
        ... )
        >>> display.lines_[0].get_xdata()
        array([ 0., 10.])
        """
        check_arguments(_RULES, "from_estimator", refit=refit, share=share)
        data = estimator, X, y, X_test, y_test, random_state
        replays = refit == "replay"
        evaluate = ScoreAfterReplay(*data, share=share) if replays else ScoreAfterRemoval(*data)
        tried = scores_to_try(scores, scorer, name, evaluate)
        default_name = "R²" if is_regressor(estimator) else "accuracy"
        display = cls.from_scores(
            tried,
            evaluate,
            fractions=fractions,
            n_random=n_random,
            random_state=evaluate.seed,
            n_jobs=n_jobs,
            verbose=verbose,
            value_name=default_name if value_name is None else value_name,
            ax=ax,
        )
        if is_classifier(estimator):
            warn_of_lost_classes(display.curves)
        return display

    @classmethod
    def from_scores(
        cls,
        scores,
        evaluate,
        *,
        name=None,
        fractions=(0, 0.05, 0.1, 0.2, 0.3),
        n_random=5,
        random_state=None,
        n_jobs=None,
        verbose=0,
        value_name="accuracy",
        ax=None,
    ):
        """Evaluate a function without the lowest scores and without random rows.

        Parameters
        ----------
        scores : array-like of shape (n_samples,), or dict of str to such, or DataFrame
            Scores of one method, or of several by name; each column of a DataFrame is a method.
        evaluate, fractions, n_random, random_state, n_jobs, verbose
            As for :func:`~sam_attribution.metrics.removal_curve`. Random removal is run once,
            among the rows that the first method judged.
        name : str or None, default=None
            Name of a single method.
        value_name : str, default="accuracy"
            Name of the value that `evaluate` returns.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        RemovalCurveDisplay
        """
        scores = by_name(columns(scores), name, argument="scores", default="lowest scores")
        curves = {
            method: removal_curve(
                values,
                evaluate,
                fractions=fractions,
                n_random=0 if position else n_random,
                random_state=random_state,
                n_jobs=n_jobs,
                verbose=verbose,
            )
            for position, (method, values) in enumerate(scores.items())
        }
        return cls(curves, value_name=value_name).plot(ax=ax)

    def _plot(self, ax):
        (self.ax_,) = axes_for(ax, 1)
        self.bars_ = []
        self.random_line_, self.random_band_ = self._draw_random()
        self.lines_ = [
            self._draw(name, curve, style)
            for (name, curve), style in zip(self.curves.items(), curve_styles(), strict=False)
        ]
        value = f"{self.value_name} after training without them"
        if self.ax_.get_ylim()[0] > 0:
            value += "\n(the axis does not start at 0)"
        self.ax_.set(xlabel="training rows removed (%), lowest scores first", ylabel=value)
        legend_beside(self.ax_)

    def _draw(self, name, curve, style):
        runs = curve[curve["kind"] == "lowest score"].groupby("fraction")["value"]
        mean, n_runs = runs.mean(), runs.size().max()
        percent = 100 * mean.index.to_numpy()
        (line,) = self.ax_.plot(percent, mean, label=name, **style)
        if n_runs > 1:
            label = None if self.bars_ else f"range of {n_runs} runs"
            sides = mean - runs.min(), runs.max() - mean
            look = {"fmt": "none", "capsize": 3, "ecolor": style["color"], "label": label}
            self.bars_.append(self.ax_.errorbar(percent, mean, sides, **look))
        return line

    def _draw_random(self):
        every = pd.concat(self.curves.values())
        every = every[every["kind"] == "random"]
        # a mean of the other draws would be one of easier removals
        without_value = every.loc[every["value"].isna(), "fraction"]
        every = every[~every["fraction"].isin(without_value)]
        if every.empty:
            return None, None
        groups = every.groupby("fraction")["value"]
        low, mean, high = groups.min(), groups.mean(), groups.max()
        label = f"random rows,\nrange of {groups.count().max()} draws"
        percent = 100 * mean.index.to_numpy()
        band = self.ax_.fill_between(percent, low, high, color="0.8", linewidth=0, label=label)
        style = {"color": "0.35", "linestyle": ":", "label": "random rows,\nmean"}
        (line,) = self.ax_.plot(percent, mean, **style)
        return line, band
