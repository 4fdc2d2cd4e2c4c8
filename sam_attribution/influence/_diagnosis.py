"""The part of SAMInfluence that says in words whether to trust the scores."""

from functools import cache
from numbers import Integral

import pandas as pd
from sklearn.utils.validation import check_is_fitted

from sam_attribution._tables import ShownTable, diagnostics_table
from sam_attribution._validation import Interval, Options, StrOptions, check_arguments
from sam_attribution._warnings import warn
from sam_attribution.diagnosis import (
    REFINE,
    REFINE_AND_SCALE,
    check_table,
    done_already,
)
from sam_attribution.influence._label_scores import to_numpy
from sam_attribution.influence._rank_stability import rank_stability
from sam_attribution.influence._refinement import FEWEST_LEFT_OUT

_WARNED_OF = (
    *("linearity_error", "roughness", "metasmoothness"),
    *("left_out_error", "left_out_rank"),
)
_RULES = {
    "smoothness": [None, StrOptions({"prediction", "starts", "weights"})],
    "n_seeds": [Interval(Integral, 0, None, closed="left")],
    "n_left_out": [Interval(Integral, FEWEST_LEFT_OUT, None, closed="left"), Options(int, {0})],
}


def warn_of_doubt(diagnostics, attributions):
    """Warn if ``fit`` found that the training cannot be attributed."""
    table = check_table(diagnostics, _done_by(attributions))
    doubtful = table[table["check"].isin(_WARNED_OF) & (table["status"] != "fine")]
    for line in doubtful.drop_duplicates("check").itertuples():
        warn(
            f"{line.meaning} ({line.check} {line.value:.2f}). What helps: {line.advice}. "
            "diagnose() shows all checks.",
        )


def warn_of_left_out(diagnostics):
    """Warn once if a method left layers out of the scores, as it was asked to."""
    if "left_out" in diagnostics and diagnostics["left_out"].notna().any():
        what = diagnostics["left_out"].dropna().iloc[0]
        warn(
            f'EKFAC(unsupported="skip") leaves out layers: {what}. The scores are those of the '
            "other layers."
        )


def warn_of_several_methods(diagnostics):
    """Warn if ``method="auto"`` took other methods for some splits."""
    if "method" in diagnostics and diagnostics["method"].nunique() > 1:
        of_split = ", ".join(f"{name} in split {k}" for k, name in diagnostics["method"].items())
        warn(
            f'method="auto" used different methods for the splits ({of_split}), so scores_ are '
            "means of scores of different sizes. Name one of these methods."
        )


def _done_by(attributions):
    """Function of a split: the remedies that its run has no use for."""

    @cache
    def done(split):
        attribution = attributions[split]
        has_size = attribution.prepared.differentiates_training
        return done_already(attribution.problem) | {REFINE_AND_SCALE if has_size else REFINE}

    return done


def _left_out_of(number, attribution):
    left_out = attribution.left_out
    if left_out is None:
        return None
    rows = attribution.trained.split.train[left_out.rows.cpu().numpy()]
    columns = {"predicted": left_out.predicted, "effect": left_out.effects}
    return pd.DataFrame(
        {"split": number, "row": rows} | {name: to_numpy(each) for name, each in columns.items()}
    )


class Diagnosing:
    """The part of SAMInfluence that says whether to trust the scores."""

    def diagnose(
        self, X=None, y=None, sample_weight=None, *, n_left_out=0, smoothness=None, n_seeds=0
    ):
        """Check whether the scores can be trusted, and say what helps if not.

        The numbers are kept in ``diagnostics_``.

        Parameters
        ----------
        X, y, sample_weight : array-like, optional
            Data given to ``fit``; needed for `n_seeds` only.
        n_left_out : int, default=0
            Number of rows of each split to leave out, one at a time, and compare with their scores:
            half of them with the largest absolute scores, the others with the largest influence on
            their own loss. At least 4; 10 are enough in most cases. Each costs a training, in one
            stack if models are small. ``left_out_`` has the rows. Methods without a unit, such as
            ``grad-cos``, are judged by the order of these rows.
        smoothness : {"prediction", "weights", "starts"}, default=None
            Check that removing a row is a smooth change, by trainings that differ slightly from
            this one. ``prediction`` moves the row weights along the scores and compares the effect
            with the prediction: 5 trainings. ``weights`` and ``starts`` compare the scores of
            trainings with other row weights, or from another start (metasmoothness): about 10
            trainings. Methods other than "unrolled" take 4 more, because the unrolled scores are
            checked.
        n_seeds : int, default=0
            Number of other seeds to fit with, to compare the rankings; each costs as much as
            ``fit``.

        Returns
        -------
        DataFrame
            A row per check and split, printed within 80 columns: `split`, `check`, `value`,
            `status` (``"fine"``, ``"doubtful"`` or ``"bad"``), `meaning`, `advice`. Checks that do
            not concern the method are left out.

        Raises
        ------
        ValueError
            For `smoothness` or `n_left_out` without a recorded training; for `n_seeds` without the
            rows of ``fit``, or with a frozen estimator.

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
        ['validation_skill', 'edge_of_stability', 'replay_distance']
        """
        check_is_fitted(self)
        asked = {"smoothness": smoothness, "n_seeds": n_seeds, "n_left_out": n_left_out}
        check_arguments(_RULES, "diagnose", **asked)
        for attribution in self.attributions_:
            attribution.examine(smoothness, n_left_out)
        if n_seeds:
            stability = rank_stability(self, X, y, sample_weight, n_seeds)
            for attribution in self.attributions_:
                attribution.diagnostics["rank_stability"] = stability
        self.diagnostics_ = self._table_of_diagnostics()
        return check_table(self._with_checks(), _done_by(self.attributions_))

    @property
    def left_out_(self):
        """Table of the rows that were left out.

        DataFrame of `split`, `row` (position among those given to ``fit``), `predicted`, the rise
        of the validation value by its score, and `effect`, the rise by training again without it.
        """
        check_is_fitted(self)
        found = [_left_out_of(*each) for each in enumerate(self.attributions_)]
        if not found or found[0] is None:
            raise AttributeError("no rows were left out: call diagnose(n_left_out=10) first.")
        return ShownTable(pd.concat(found, ignore_index=True))

    def _table_of_diagnostics(self):
        return diagnostics_table([each.diagnostics for each in self.attributions_])

    def _with_checks(self):
        """The table with columns for two checks.

        ``validation_skill`` is 0 for the commonest class and 1 if all rows are right;
        ``evaluation_mode`` is 1 if training took gradients in another mode, else missing.
        """
        table = self.diagnostics_
        if "mode" in table:
            differs = table["mode"].str.contains("in evaluation mode, though")
            table = table.assign(evaluation_mode=differs.where(differs).astype(float))
        if "validation_loss" in table:  # of any task: what chance would do is not known
            return table
        if "validation_r2" in table:
            return table.assign(validation_skill=table["validation_r2"])
        chance = table["validation_chance"].where(lambda share: share < 1)
        return table.assign(validation_skill=(table["validation_accuracy"] - chance) / (1 - chance))
