"""Targets of a regressor: their checks and their splitter."""

from math import ceil

from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.utils.validation import validate_data

from sam_attribution._validation import check_targets
from sam_attribution.validation_data import ValidationData


class NumericTargets:
    """Targets of a regressor."""

    classes = None

    def check_question(self, evaluation, aggregate):
        """ValueError for what would need classes."""
        if isinstance(evaluation, str) and evaluation != "loss":
            raise ValueError(
                f"evaluation={evaluation!r} needs classes, but estimator is a regressor. Use "
                '"loss" or a callable (prediction, y) -> values.'
            )
        if aggregate == "worst-class":
            raise ValueError(
                'aggregate="worst-class" needs classes, but estimator is a regressor. Use "mean".'
            )

    def given(self, y):
        """`y` as an array of floats; None stays None."""
        return y if y is None else check_targets(y, warn=True)

    def with_rows(self, judge, X, y, rules):
        """Rows and targets, checked by scikit-learn."""
        return validate_data(judge, X, y, **rules)

    def learn(self, y, validation):
        """Checked targets."""
        if isinstance(validation, ValidationData):
            self.check(validation.y, "y of validation")
        return check_targets(y)

    def check(self, y, name):
        """ValueError or TypeError unless `y` holds one real number per row."""
        check_targets(y, name)

    def predicted(self, models, X):
        """Raise a ValueError: a row whose target is what the model predicts has no gradient."""
        raise ValueError(
            "y is needed to score rows for a regressor: a row whose target is the model's "
            "prediction has no effect. Pass score_samples(X, y)."
        )

    def splitter(self, fraction, y, seed):
        """One split; ValueError if it leaves nothing to train on."""
        n_held_out = ceil(fraction * len(y))
        if n_held_out >= len(y):
            raise ValueError(
                f"validation={fraction} holds out {n_held_out} rows of n_samples={len(y)} and "
                "leaves none to train on. Use a smaller fraction, or pass ValidationData."
            )
        return ShuffleSplit(1, test_size=fraction, random_state=seed)

    def folds(self, n_folds, y, seed):
        """Shuffled folds; ValueError if there are fewer rows."""
        if n_folds > len(y):
            raise ValueError(
                f"validation={n_folds} asks for more folds than there are rows, "
                f"n_samples={len(y)}. Use fewer folds, or pass ValidationData."
            )
        return KFold(n_folds, shuffle=True, random_state=seed)

    def check_split(self, number, y_train):
        """Any rows will do."""
