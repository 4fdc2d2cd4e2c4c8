"""Base of the filters: check the rows, score them once, mark the lowest."""

from numbers import Integral, Real
from os import PathLike

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import indexable
from sklearn.utils.validation import has_fit_parameter

from sam_attribution._as_arrays import refuse_odd_tensor
from sam_attribution._printing import Printed
from sam_attribution._row_order import check_order
from sam_attribution._rows import with_own_targets
from sam_attribution._seeding import seed_nested
from sam_attribution._validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_labels,
    check_parameters,
    check_sample_weight,
    forget_fit,
)
from sam_attribution._warnings import warn
from sam_attribution.filtering._kept_rows import AUTO, check_fraction, rows_to_keep
from sam_attribution.filtering._score_cache import fitted_scores
from sam_attribution.filtering._scorer import scorer_on
from sam_attribution.fitting import net_of
from sam_attribution.training import SAMClassifier, SAMNet


class RowFilter(Printed, BaseEstimator):
    """Base of estimators with `scorer`, `removal_fraction`, `memory` and `random_state`."""

    _parameter_constraints = {
        "scorer": [HasMethods(["fit"]), None],
        "removal_fraction": [StrOptions({AUTO}), Interval(Real, 0, 1, closed="left")],
        "memory": [str, PathLike, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
    }

    def _checked(self, X, y, sample_weight, groups=None):
        """Rows, labels and weights that can be indexed; an earlier fit is forgotten."""
        check_parameters(self)
        _refuse_without_classes("estimator", self._classifier())
        _refuse_without_classes("scorer", getattr(self.scorer, "estimator", None))
        refuse_odd_tensor(X, "X")
        check_order(X=X, y=y, sample_weight=sample_weight, groups=groups)
        X, y = with_own_targets(X, y)
        X, y = indexable(X, check_labels(y))
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        forget_fit(self)
        return X, y, sample_weight

    def _judge(self, X, y, sample_weight, groups=None):
        """Mask of the rows that stay; leaves ``scores_`` where any were needed."""
        if self.removal_fraction == 0:
            return np.ones(len(y), dtype=bool)
        scorer = self._scorer()
        check_fraction(self.removal_fraction, scorer)
        self.scores_, suspicious = fitted_scores(
            seed_nested(scorer, self.random_state),
            X,
            y,
            _fit_params(scorer, sample_weight, groups),
            memory=self.memory,
            random_state=self.random_state,
        )
        _check_scores(self.scores_, len(y), getattr(scorer, "validation", None))
        how = {"removal_fraction": self.removal_fraction, "scorer": scorer}
        return rows_to_keep(y, self.scores_, suspicious, **how)

    def _scorer(self):
        return scorer_on(self._classifier(), self.scorer)

    def _classifier(self):
        """Classifier that a scorer without an estimator trains."""
        return SAMClassifier()


def _fit_params(scorer, sample_weight, groups):
    """Arguments of the scorer's ``fit``: weights if it takes them, and groups, which it has to."""
    given = {"sample_weight": sample_weight, "groups": groups}
    if groups is not None and not has_fit_parameter(scorer, "groups"):
        raise ValueError(
            f"groups are for the scorer, and fit of {type(scorer).__name__} takes none. Leave them "
            "out, or use a MislabelDetector or a SAMInfluence."
        )
    return {
        name: values
        for name, values in given.items()
        if values is not None and has_fit_parameter(scorer, name)
    }


def _refuse_without_classes(name, estimator):
    has_tags = hasattr(estimator, "__sklearn_tags__") and not isinstance(estimator, type)
    of_net = has_tags and isinstance(net_of(estimator), SAMNet)
    if has_tags and (is_regressor(estimator) or of_net):
        raise ValueError(
            f"{name} must use a classifier, got {estimator!r}: filters look for wrong labels. "
            "For other targets read SAMInfluence(estimator).fit(X, y).scores_."
        )


def _check_scores(scores, n_samples, validation):
    """Raise a ValueError for scores of a wrong shape; warn of rows without one."""
    if scores.shape != (n_samples,):
        raise ValueError(
            f"scorer must leave scores_ of shape ({n_samples},), one for each row, got shape "
            f"{scores.shape}."
        )
    unjudged = np.isnan(scores).mean()
    if unjudged:
        is_splitter = isinstance(validation, Integral) or hasattr(validation, "split")
        why = (
            "did not train on them in any split. Use a splitter that trains on every row in some "
            "split, such as StratifiedKFold(5), and a network with train_split=None."
            if is_splitter
            else "held them out as validation rows. A scorer with a cross-validation splitter as "
            "validation judges every row."
        )
        warn(f"{unjudged:.1%} of the rows have no score, so they stay: the scorer {why}")
