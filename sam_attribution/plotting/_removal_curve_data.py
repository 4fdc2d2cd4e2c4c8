"""Data of RemovalCurveDisplay: scores of an estimator trained on the rows that stay."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier

from sam_attribution._as_arrays import from_tensor, values_of
from sam_attribution._row_order import check_order, check_results
from sam_attribution._rows import with_own_targets
from sam_attribution._seeding import draw_seed, seed_nested
from sam_attribution._validation import check_column, check_length, num_samples, take_rows
from sam_attribution._warnings import warn
from sam_attribution.editing import without_rows
from sam_attribution.fitting import fitted_on_all
from sam_attribution.plotting._display_arguments import by_name, columns


class ScoreAfterRemoval:
    """Function from the mask of training rows to the score of a clone on the test rows."""

    def __init__(self, estimator, X, y, X_test, y_test, random_state):
        self.estimator = estimator
        check_order(X=X, y=y)
        check_order(X_test=X_test, y_test=y_test)
        self._rows = {"X": X} if hasattr(X, "iloc") else {"y": y}
        X, y = with_own_targets(X, y)
        self.X, self.y = from_tensor(X, "X"), np.asarray(values_of(y, "y"))
        check_length(self.y, "y", num_samples(self.X))
        X_test, y_test = with_own_targets(X_test, y_test)
        self.X_test, self.y_test = from_tensor(X_test, "X_test"), values_of(y_test, "y_test")
        known = isinstance(random_state, Integral)
        self.seed = int(random_state) if known else draw_seed(random_state)

    def column(self, scores):
        """Scores of the rows as an array, checked to be in their order."""
        check_results(self._rows, scores=scores)
        check_length(scores, "scores", len(self.y))
        return check_column(scores, "scores", dtype="float64")

    def __call__(self, kept):
        if self._loses_class(kept):
            return np.nan
        return self._without(kept).score(self.X_test, self.y_test)

    def _loses_class(self, kept):
        """True if no row of some class stays."""
        classify = is_classifier(self.estimator)
        return classify and len(np.unique(self.y[kept])) < len(np.unique(self.y))

    def _without(self, kept):
        twin = seed_nested(clone(self.estimator), self.seed)
        return twin.fit(take_rows(self.X, np.flatnonzero(kept)), self.y[kept])


class ScoreAfterReplay(ScoreAfterRemoval):
    """The same of a clone that is trained once on all rows, its last `share` again without some."""

    def __init__(self, *arguments, share):
        super().__init__(*arguments)
        self._share = share
        twin = seed_nested(clone(self.estimator), self.seed)
        self._trained = fitted_on_all(twin, self.X, self.y)

    def _without(self, kept):
        # the same steps with no row removed as well: a curve compares the rows alone
        return without_rows(self._trained, np.flatnonzero(~kept), self._share)


def warn_of_lost_classes(curves):
    """Warn of fractions without a value, because a removal takes all rows of a class."""
    table = pd.concat(curves.values())
    lost = table.loc[table["value"].isna(), "fraction"]
    if len(lost):
        named = ", ".join(f"{fraction:g}" for fraction in np.unique(lost))
        warn(
            f"fractions={named} takes every row of a class in some order of removal, and a model "
            "cannot learn a class without rows: no value is drawn there. Remove smaller fractions."
        )


def scores_to_try(scores, scorer, name, evaluate):
    """Dict of the scores of each method, one score for each row."""
    if (scores is None) == (scorer is None):
        both = "neither" if scores is None else "both"
        raise TypeError(f"Either scores or scorer must be given, got {both}.")
    if scorer is not None:
        name = type(scorer).__name__ if name is None else name
        if getattr(scorer, "scores_", None) is None:
            scorer = seed_nested(clone(scorer), evaluate.seed).fit(evaluate.X, evaluate.y)
        scores = scorer.scores_
    tried = by_name(columns(scores), name, argument="scores", default="lowest scores")
    return {name: evaluate.column(each) for name, each in tried.items()}


def curve_of(fractions, values, random_values=None):
    """Table of known values, in the format of ``metrics.removal_curve``."""
    fractions = check_column(fractions, "fractions", dtype="float64")
    if not np.all((fractions >= 0) & (fractions < 1)):
        raise ValueError(f"fractions must be numbers in [0, 1), got {fractions.tolist()}.")
    runs = np.atleast_2d(np.asarray(values, dtype=float))
    lowest = [_lines(fractions, run, "accuracy", "lowest score", pd.NA) for run in runs]
    draws = [] if random_values is None else np.atleast_2d(random_values)
    random = [
        _lines(fractions, draw, "random_accuracy", "random", seed)
        for seed, draw in enumerate(draws)
    ]
    return pd.concat([*lowest, *random], ignore_index=True)


def _lines(fractions, values, argument, kind, seed):
    values = np.asarray(values, dtype=float)
    if values.shape != fractions.shape:
        raise ValueError(
            f"{argument} must hold a number for each of {len(fractions)} fractions, got shape "
            f"{values.shape}."
        )
    table = pd.DataFrame({"fraction": fractions, "kind": kind, "seed": seed, "value": values})
    return table.astype({"seed": "Int64"})
