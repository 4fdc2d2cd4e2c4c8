"""Targets of any shape: their checks and their splitter."""

from sklearn.utils.validation import check_consistent_length, validate_data

from sam_attribution.fitting._numeric_targets import NumericTargets
from sam_attribution.training import target_array
from sam_attribution.validation_data import ValidationData


class AnyTargets(NumericTargets):
    """Targets of a SAMNet; they are split as those of a regressor."""

    def check_question(self, evaluation, aggregate):
        """ValueError for what would need classes."""
        if isinstance(evaluation, str) and evaluation != "loss":
            raise ValueError(
                f"evaluation={evaluation!r} needs classes, which a SAMNet does not know. Use "
                '"loss" or a callable (output, y) -> values.'
            )
        if aggregate == "worst-class":
            raise ValueError(
                'aggregate="worst-class" needs classes, which a SAMNet does not know. Use "mean".'
            )

    def given(self, y):
        """`y` as an array of any shape; None stays None."""
        return y if y is None else target_array(y)

    def with_rows(self, judge, X, y, rules):
        """Rows checked by scikit-learn, which knows no such targets."""
        if y is None:
            raise ValueError(
                f"{type(judge).__name__} requires y to be passed, but the target y is None. For "
                "an autoencoder pass y=X."
            )
        X = validate_data(judge, X, **rules)
        check_consistent_length(X, y)
        return X, y

    def learn(self, y, validation):
        """Checked targets."""
        if isinstance(validation, ValidationData):
            self._check_shape(validation.y, y)
        return y

    def check(self, y, name):
        """ValueError or TypeError unless `y` holds numbers."""
        target_array(y, name)

    def predicted(self, models, X):
        """Raise a ValueError: the output of a SAMNet need not be a target."""
        raise ValueError(
            "y is needed to score rows for a SAMNet, whose output need not be a target. Pass "
            "score_samples(X, y)."
        )

    def _check_shape(self, of_validation, y):
        shape = target_array(of_validation, "y of validation").shape
        if shape[1:] != y.shape[1:]:
            raise ValueError(
                f"y of validation has targets of shape {shape[1:]}, those given to fit have "
                f"{y.shape[1:]}."
            )
