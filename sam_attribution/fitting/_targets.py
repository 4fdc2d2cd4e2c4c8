"""Targets of an estimator: their checks and their splitters."""

from math import ceil

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.utils.validation import validate_data

from sam_attribution._validation import check_labels, codes_among, label_values
from sam_attribution.fitting._any_targets import AnyTargets
from sam_attribution.fitting._estimator import net_of
from sam_attribution.fitting._numeric_targets import NumericTargets
from sam_attribution.validation_data import ValidationData


def targets_of(estimator):
    """Rules for the targets of `estimator`: class, numeric or any targets."""
    net = net_of(estimator)
    if is_classifier(net):
        return ClassTargets()
    return NumericTargets() if is_regressor(net) else AnyTargets()


def has_classes(estimator):
    """True if the net of `estimator` tells classes apart."""
    return is_classifier(net_of(estimator))


class ClassTargets:
    """Targets of a classifier. `classes` are there after :meth:`learn`."""

    classes = None

    def check_question(self, evaluation, aggregate):
        """Every question can be put."""

    def given(self, y):
        """`y` as an array with a label per row, otherwise unchecked."""
        return label_values(y)

    def with_rows(self, judge, X, y, rules):
        """Rows and labels, checked by scikit-learn."""
        return validate_data(judge, X, self.given(y), **rules)

    def learn(self, y, validation):
        """Checked labels; ValueError if there is nothing to tell apart, or to judge by."""
        y = check_labels(y)
        self.classes = np.unique(y)
        if len(self.classes) < 2:
            raise ValueError(
                f"y must hold at least two classes, got {len(self.classes)}: rows of one class "
                "have no influence on each other's loss."
            )
        if isinstance(validation, ValidationData):
            self.check(validation.y, "y of validation")
        return y

    def check(self, y, name):
        """ValueError for labels that were not in ``fit``."""
        codes_among(self.classes, y, name)

    def predicted(self, models, X):
        """Most probable label of every row, by the mean probabilities of several models."""
        return self.classes[np.mean([model.predict_proba(X) for model in models], 0).argmax(1)]

    def splitter(self, fraction, y, seed):
        """One stratified split; ValueError if a class is too rare for it."""
        n_held_out, n_classes = ceil(fraction * len(y)), len(self.classes)
        n_train = len(y) - n_held_out
        if min(n_held_out, n_train) < n_classes:
            raise ValueError(
                f"validation={fraction} holds out {n_held_out} of {len(y)} rows and trains on "
                f"{n_train}, but each part needs a row of every one of the {n_classes} classes. "
                "Use another fraction, or pass ValidationData."
            )
        self._check_counts(fraction, y)
        return StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)

    def folds(self, n_folds, y, seed):
        """Stratified folds; ValueError if a class is too rare for them."""
        self._check_counts(n_folds, y)
        most = np.unique(y, return_counts=True)[1].max()
        if n_folds > most:
            raise ValueError(
                f"validation={n_folds} asks for more folds than any class has rows: the largest "
                f"has {most}. Use fewer folds, or pass ValidationData."
            )
        return StratifiedKFold(n_folds, shuffle=True, random_state=seed)

    def _check_counts(self, validation, y):
        classes, counts = np.unique(y, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                f"validation={validation} holds out a part of every class, but class "
                f"{classes.tolist()[counts.argmin()]!r} has one row. Merge or drop rare classes, "
                "or pass ValidationData."
            )

    def check_split(self, number, y_train):
        """ValueError if a split trains on fewer classes than there are."""
        missing = np.setdiff1d(self.classes, y_train)
        if len(missing):
            raise ValueError(
                f"validation split {number} trains without a row of class {missing.tolist()}. "
                "Use a stratified splitter, or merge rare classes."
            )
