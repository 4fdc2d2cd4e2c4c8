"""Whether to trust the scores: the numbers behind it, and SAMInfluence.diagnose."""

import warnings
from numbers import Integral

import pandas as pd
from sklearn.utils.validation import check_is_fitted

from sam_attribution._validation import Interval, StrOptions, check_arguments
from sam_attribution.curvature import SAMPoint
from sam_attribution.diagnosis import (
    extreme_curvature,
    linearity,
    metasmoothness,
    recorded_scores,
    verdicts,
)
from sam_attribution.influence._rank_stability import rank_stability

_WARNED_OF = ("linearity", "metasmoothness")


def smoothness(attribution, check):
    """Whether training is smooth in the rows' weights, as columns of ``diagnostics_``.

    Parameters
    ----------
    attribution : Attribution
    check : {"linearity", "weights", "starts"}
        The latter two are the neighbours of ``metasmoothness``.

    Returns
    -------
    dict
    """
    problem, queries = attribution.problem, attribution.queries
    if attribution.prepared.differentiates_training:
        scores = attribution.query_scores
    else:
        scores = recorded_scores(problem, queries)
    if scores.dtype != problem.params.dtype:
        problem = problem.in_double_precision()
        queries = queries.of(problem)
    if check == "linearity":
        return {"linearity": linearity(problem, queries, scores)}
    return {"metasmoothness": metasmoothness(problem, queries, scores, nearby=check)}


def arrival(problem):
    """Where training came to: gradient and curvature, as columns of ``diagnostics_``."""
    curvature, edge = extreme_curvature(problem)
    return {
        "stationarity": SAMPoint(problem).stationarity(),
        "curvature": curvature,
        "edge_of_stability": edge,
    }


def warn_of_doubt(diagnostics):
    """Warn if ``fit`` found that the training cannot be attributed."""
    table = verdicts(diagnostics)
    doubtful = table[table["check"].isin(_WARNED_OF) & (table["verdict"] != "fine")]
    for line in doubtful.drop_duplicates("check").itertuples():
        warnings.warn(
            f"{line.meaning} ({line.check} {line.value:.2f}). What helps: {line.advice}. "
            "diagnose() says more.",
            stacklevel=3,
        )


class Diagnosing:
    """The part of SAMInfluence that says whether to trust the scores."""

    def diagnose(self, X=None, y=None, sample_weight=None, *, smoothness=None, n_seeds=0):
        """Say in words whether the scores can be trusted, and what to do if not.

        What is computed here is kept in ``diagnostics_``.

        Parameters
        ----------
        X, y, sample_weight : array-like, optional
            What ``fit`` was given; needed for `n_seeds` only.
        smoothness : {"linearity", "weights", "starts"}, default=None
            Whether removing a row is a smooth change at all, by trainings right beside this one.
            ``linearity``: does moving the rows' weights along the scores do what these predict?
            2 trainings. ``weights``, ``starts``: do trainings with other row weights, or from
            another start, give the same scores (metasmoothness)? About 10 trainings. Methods other
            than "unrolled" take 4 more, for the unrolled scores.
        n_seeds : int, default=0
            Fit again with as many other seeds and compare the rankings; each costs as much as
            ``fit``.

        Returns
        -------
        DataFrame
            A line per check and split: `split`, `check`, `value`, `verdict` (``"fine"``,
            ``"doubtful"`` or ``"bad"``), `meaning`, `advice`.

        Raises
        ------
        ValueError
            For `smoothness` without a recorded training; for `n_seeds` without the rows of ``fit``,
            or with a frozen estimator.

        Notes
        -----
        Without options: two gradients and 20 Hessian products, about 90 forward passes over the
        training rows, at the first call.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sam_attribution import SAMClassifier, SAMInfluence
        >>> X, y = load_iris(return_X_y=True)
        >>> influence = SAMInfluence(SAMClassifier(max_epochs=5), random_state=0).fit(X, y)
        >>> table = influence.diagnose()
        >>> table["check"].tolist()
        ['validation_skill', 'stationarity', 'edge_of_stability']
        """
        check_is_fitted(self)
        check_arguments(
            {
                "smoothness": [None, StrOptions({"linearity", "weights", "starts"})],
                "n_seeds": [Interval(Integral, 0, None, closed="left")],
            },
            smoothness=smoothness,
            n_seeds=n_seeds,
        )
        found = {}
        if n_seeds:
            found["rank_stability"] = rank_stability(self, X, y, sample_weight, n_seeds)
        for run in self._runs:
            run.examine(smoothness)
            run.diagnostics |= found
        self._tabulate()
        return verdicts(_with_skill(self.diagnostics_, self))
