"""What ``trusted`` says about validation labels, and rows that are in both sets."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sam_attribution import MislabelDetector, SAMClassifier, ValidationData
from sam_attribution.detection._overlap import warn_of_overlap
from sam_attribution.detection._shrinkage import best_shrinkage
from sam_attribution.detection._trusted_classes import trusted_classes
from sam_attribution.exceptions import AttributionWarning

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 2, 240)
X = (RNG.normal(size=(240, 4)) + 2 * TRUE[:, None]).astype("float32")
WRONG = RNG.random(240) < 0.2
Y = np.where(WRONG, 1 - TRUE, TRUE)
CHECKED = ValidationData(X[160:], TRUE[160:])


def judged(trusted, validation=CHECKED):
    network = SAMClassifier(max_epochs=3, random_state=0)
    return MislabelDetector(network, validation=validation, trusted=trusted).fit(X[:160], Y[:160])


@pytest.mark.parametrize("trusted", [True, False])
def test_what_the_user_knows_is_believed(trusted):
    detector = judged(trusted)
    says = "trusted" if trusted else "as noisy"
    assert detector.diagnostics_["validation"].tolist() == [says]
    assert ("trusted" in detector.score_components_) == trusted


def test_labels_that_are_not_trusted_on_their_own_are_said():
    """Labels of the same noise; who says that nobody has checked them is not warned."""
    alike = ValidationData(X[160:], Y[160:])
    with pytest.warns(AttributionWarning, match="as noisy as those of fit.* pass trusted=True"):
        assert judged("auto", alike).diagnostics_["validation"].tolist() == ["as noisy"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*as noisy as those of fit")
        judged(False, alike)
        judged(True, alike)
        judged("auto", 0.2)


def test_trust_needs_rows_that_can_have_it():
    with pytest.raises(ValueError, match=r"trusted=True needs validation=ValidationData\(X, y\)"):
        judged(True, validation=0.2)
    with pytest.raises(ValueError, match="trusted"):
        judged("perhaps")


def problem(rows):
    return SimpleNamespace(X=torch.as_tensor(rows), rows_per_pass=50)


def test_rows_in_both_sets_are_counted_and_one_is_named():
    both = np.concatenate([X[150:], X[[7, 9]]])  # 10 rows and 2
    with pytest.warns(AttributionWarning, match=r"12 of the 92 rows .* row 0 .* is row 150 of X"):
        warn_of_overlap(problem(X[:160]), torch.as_tensor(both))


def test_rows_that_are_alike_anyway_are_no_overlap():
    few_values = RNG.integers(0, 2, (200, 4)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_overlap(problem(X[:160]), torch.as_tensor(X[160:]))
        warn_of_overlap(problem(few_values[:150]), torch.as_tensor(few_values[150:]))


def test_the_noisier_the_labels_the_more_is_shrunk():
    wide = np.concatenate([X, RNG.normal(size=(240, 60)).astype("float32")], axis=1)
    found = [
        best_shrinkage(torch.as_tensor(wide), torch.as_tensor(y), torch.ones(240), 2)
        for y in (TRUE, np.where(RNG.random(240) < 0.35, 1 - TRUE, TRUE))
    ]
    assert found[1] >= 0.9
    assert found[0] <= found[1]


def test_the_shrinkage_does_not_depend_on_where_the_search_starts():
    wide = np.concatenate([X, RNG.normal(size=(240, 20)).astype("float32")], axis=1)
    rows = torch.as_tensor(wide), torch.as_tensor(TRUE), torch.ones(240), 2
    assert best_shrinkage(*rows, 0.1) == best_shrinkage(*rows, 0.6) == best_shrinkage(*rows, 0.97)


def test_trusted_classes_know_nothing_of_the_labels_trained_on():
    """Scores of all rows by classes of 80 rows: those of scikit-learn's LDA, up to a constant."""
    rows = torch.as_tensor(X)
    found = trusted_classes([(rows[:160], rows[160:])], [], torch.as_tensor(TRUE[160:]), 2)
    scores, own = found.untouched[0]
    assert found.later == ()
    lda = LinearDiscriminantAnalysis().fit(X[160:], TRUE[160:])
    assert np.corrcoef(np.diff(scores)[:, 0], lda.decision_function(X[:160]))[0, 1] > 0.99
    assert ((own.argmax(1)) == TRUE[160:]).mean() > 0.9
    one_class = torch.zeros(80, dtype=torch.int64)
    assert trusted_classes([(rows[:160], rows[160:])], [], one_class, 2) is None


@pytest.mark.slow
def test_right_labels_count_what_noisy_ones_cannot():
    """Half of the labels of one of two classes that overlap are wrong: 200 checked rows tell."""
    rng = np.random.default_rng(1)
    true = rng.integers(0, 2, 1200)
    rows = (rng.normal(size=(1200, 2)) + 1.5 * true[:, None]).astype("float32")
    given = np.where((true == 1) & (rng.random(1200) < 0.5), 0, true)
    network = SAMClassifier(max_epochs=10, random_state=0)
    checked = ValidationData(rows[1000:], true[1000:])
    detector = MislabelDetector(network, validation=checked, trusted=True)
    detector.fit(rows[:1000], given[:1000])
    wrong = (true != given)[:1000].mean()
    assert detector.contamination_ == pytest.approx(wrong, abs=0.05)
