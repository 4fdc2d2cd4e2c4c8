"""Warnings point at the line of the user, however deep they arise."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import FilteredClassifier, MislabelDetector, SAMClassifier, SAMInfluence
from sam_attribution._warnings import warn, withheld_warnings
from sam_attribution.exceptions import AttributionWarning
from tests.models import tabular

X, y, _ = tabular(40)
SMALL = {"max_epochs": 2, "lr": 0.1, "random_state": 0}
# of one class almost: some class of 20 rows would lose more than half of them
RARE = np.r_[np.zeros(20, int), np.ones(20, int)]


class Scores:
    """A scorer that finds the rows of class 0 most harmful."""

    def get_params(self, deep=True):
        return {}

    def set_params(self):
        return self

    def fit(self, X, y):
        self.scores_ = y + np.linspace(0, 0.1, len(y))
        return self


def places(call):
    """File and category of every warning of this package that `call` issues."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(each.filename, each.lineno) for each in caught
            if issubclass(each.category, AttributionWarning)]  # fmt: skip


def filtered():
    return FilteredClassifier(SAMClassifier(**SMALL), scorer=Scores(), removal_fraction=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        lambda: filtered().fit(X, RARE),
        lambda: make_pipeline(StandardScaler(), filtered()).fit(X, RARE),
        lambda: cross_val_score(filtered(), X, RARE, cv=2),
        lambda: SAMInfluence(SAMClassifier(**SMALL), method="hif", random_state=0).fit(X, y),
        lambda: MislabelDetector(SAMClassifier(**SMALL), random_state=0).fit(X, y[::-1]),
    ],
    ids=["filter", "pipeline", "cross-validation", "influence", "detector"],
)
def test_a_warning_names_the_line_that_called(call):
    found = places(call)
    assert found
    assert set(found) == {(__file__, call.__code__.co_firstlineno)}


@pytest.mark.slow
def test_warnings_of_other_processes_name_the_line_that_called():
    influence = SAMInfluence(
        SAMClassifier(**SMALL), method="hif", validation=StratifiedKFold(2), n_jobs=2
    )
    found = places(lambda: influence.fit(X, y))
    assert len(found) >= 2
    assert {file for file, _ in found} == {__file__}


def test_without_a_line_of_the_user_it_is_issued_all_the_same():
    code = compile("warn('said')", __file__.replace("tests", "sam_attribution"), "exec")
    with pytest.warns(AttributionWarning, match="said"):
        exec(code, {"warn": warn})


def test_withheld_warnings_reach_nobody_and_others_the_user():
    with warnings.catch_warnings(record=True) as caught, withheld_warnings() as messages:
        warnings.simplefilter("always")
        warn("of this package")
        warn("of a solver", ConvergenceWarning)
    assert messages == ["of this package"]
    assert [str(each.message) for each in caught] == ["of a solver"]
    with pytest.warns(AttributionWarning, match="afterwards"):
        warn("afterwards")
