"""The rows that `validation` holds out: folds by their number, and groups that stay together."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    MislabelFilter,
    SAMClassifier,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)
from sam_attribution._seeding import draw_seed
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.fitting._numeric_targets import NumericTargets
from sam_attribution.fitting._splits import make_splits
from sam_attribution.fitting._targets import ClassTargets

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
X = RNG.normal(size=(40, 3)) + 2 * Y[:, None]
GROUPS = np.repeat([f"patient {number}" for number in range(10)], 4)
NET = SAMClassifier(max_epochs=2, random_state=0)


def judge(kind=MislabelDetector, **settings):
    given = {"estimator": NET, "random_state": 0} | settings
    own = {"contamination": 0.1} if kind is MislabelDetector else {"method": "grad-dot"}
    return kind(**given, **own)


def classes():
    targets = ClassTargets()
    targets.learn(Y, 5)
    return targets


@pytest.mark.parametrize(
    ("targets", "y", "splitter"),
    [
        (classes(), Y, StratifiedKFold(5, shuffle=True, random_state=3)),
        (NumericTargets(), X[:, 0], KFold(5, shuffle=True, random_state=3)),
    ],
    ids=["classes", "numbers"],
)
def test_a_number_of_folds_stands_for_shuffled_folds(targets, y, splitter):
    found = make_splits(np.int64(5), X, y, targets, seed=3)
    for split, (train, held_out) in zip(found, splitter.split(X, y), strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.held_out, held_out)


@pytest.mark.slow
def test_a_number_of_folds_gives_the_scores_of_its_splitter():
    folds = StratifiedKFold(3, shuffle=True, random_state=draw_seed(0))
    found, expected = (judge(SAMInfluence, validation=v).fit(X, Y).scores_ for v in (3, folds))
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("estimator", "y", "folds", "message"),
    [
        (NET, Y, 21, "more folds than any class has rows: the largest has 20"),
        (NET, np.r_[Y[:-1], 2], 5, r"class (np.int64\()?2\)? has one row"),
        (SAMRegressor(), X[:, 0], 41, "more folds than there are rows, n_samples=40"),
        (NET, Y, 1, "'validation' parameter"),
        (NET, Y, True, "'validation' parameter"),
    ],
)
def test_folds_that_cannot_be(estimator, y, folds, message):
    with pytest.raises(ValueError, match=message):
        SAMInfluence(estimator, validation=folds).fit(X, y)


def test_a_frozen_estimator_cannot_have_folds():
    from sklearn.frozen import FrozenEstimator

    frozen = FrozenEstimator(SAMClassifier(max_epochs=1).fit(X, Y))
    with pytest.raises(ValueError, match="a frozen estimator needs validation=ValidationData"):
        judge(estimator=frozen, validation=5).fit(X, Y)


@pytest.mark.parametrize("kind", [MislabelDetector, SAMInfluence])
def test_groups_stay_together(kind, recwarn):
    fitted = judge(kind, validation=GroupKFold(2)).fit(X, Y, groups=GROUPS.tolist())
    assert not [each for each in recwarn if issubclass(each.category, AttributionWarning)]
    by_hand = [(train, held) for train, held in GroupKFold(2).split(X, Y, GROUPS)]
    expected = judge(kind, validation=Given(by_hand)).fit(X, Y)
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)
    if kind is MislabelDetector:
        found = judge(kind, validation=GroupKFold(2)).fit_predict(X, Y, groups=GROUPS)
        np.testing.assert_array_equal(found == -1, expected.suspicious_)


class Given:
    """A splitter of one's own that knows no groups."""

    def __init__(self, pairs):
        self.pairs = pairs

    def split(self, X, y):
        return iter(self.pairs)

    def get_n_splits(self):
        return len(self.pairs)


@pytest.mark.parametrize("splitter", [GroupKFold(2), StratifiedGroupKFold(2), LeaveOneGroupOut()])
def test_a_splitter_that_needs_groups(splitter):
    message = r"validation=\w+\(.*\) needs groups, got none.*fit\(X, y, groups=...\)"
    with pytest.raises(ValueError, match=message):
        judge(validation=splitter).fit(X, Y)


@pytest.mark.parametrize("validation", [0.3, 3, KFold(3)], ids=str)
def test_groups_that_do_not_stay_together_are_a_warning(validation):
    with pytest.warns(AttributionWarning, match=r"does not keep groups together: \d+ of them"):
        judge(validation=validation).fit(X, Y, groups=GROUPS)


def test_groups_beside_rows_of_ones_own_are_a_warning():
    own = ValidationData(X[:10], Y[:10])
    with pytest.warns(
        AttributionWarning, match="groups have no effect, because validation=ValidationData"
    ):
        judge(validation=own).fit(X, Y, groups=GROUPS)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (GROUPS[:30], "groups must hold one value for each of the 40 rows, got 30"),
        (np.c_[GROUPS, GROUPS], "groups should be a 1d array"),
        (pd.Series(GROUPS, np.arange(40)[::-1]), "X and groups have the same index in another"),
    ],
)
def test_groups_that_do_not_fit_the_rows(groups, message):
    with pytest.raises(ValueError, match=message):
        judge(validation=GroupKFold(2)).fit(pd.DataFrame(X, columns=list("abc")), Y, groups=groups)


class Fixed:
    """A splitter that gives what it is told."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def split(self, X, y=None, groups=None):
        return self.pairs

    def get_n_splits(self):
        return len(self.pairs)

    def __repr__(self):
        return "Fixed()"


ROWS = np.arange(40)


@pytest.mark.parametrize(
    ("splitter", "message"),
    [
        (PredefinedSplit([-1] * 40), r"validation=PredefinedSplit\(.* gives no split, .* fraction"),
        (Fixed((ROWS, ROWS[:0])), r"validation=Fixed\(\) has an empty side in split 0"),
        (Fixed((ROWS, ROWS[::2]), ([], ROWS)), "has an empty side in split 1"),
        (Fixed((ROWS, ROWS + 1)), "positions from 0 to 39, got 1 to 40 of int64 in split 0"),
        (Fixed((ROWS, -ROWS)), "positions from 0 to 39, got -39 to 0"),
        (Fixed((ROWS / 2, ROWS)), r"positions from 0 to 39, got 0\.0 to 19\.5 of float64"),
    ],
    ids=["none", "nothing held out", "nothing to train on", "too large", "negative", "fractions"],
)
@pytest.mark.parametrize("kind", [MislabelDetector, SAMInfluence])
def test_a_splitter_without_splits_of_these_rows_is_named(kind, splitter, message):
    with pytest.raises(ValueError, match=message):
        judge(kind, validation=splitter).fit(X, Y)


@pytest.mark.parametrize("form", [list, lambda part: np.isin(ROWS, part)], ids=["list", "mask"])
def test_sides_of_a_split_may_be_lists_or_masks(form):
    pair = ROWS[:30], ROWS[30:]
    expected = judge(validation=Fixed(pair)).fit(X, Y).scores_
    found = judge(validation=Fixed(tuple(map(form, pair)))).fit(X, Y).scores_
    np.testing.assert_array_equal(found, expected)


def test_filters_hand_groups_to_their_scorer():
    scorer = judge(validation=GroupKFold(2))
    expected = scorer.fit(X, Y, groups=GROUPS).scores_
    settings = {"scorer": scorer, "removal_fraction": 0.1, "random_state": 0}
    filtered = FilteredClassifier(NET, **settings).fit(X, Y, groups=GROUPS)
    np.testing.assert_array_equal(filtered.scores_, expected)
    resampled = MislabelFilter(**settings).fit(X, Y, groups=GROUPS)
    np.testing.assert_array_equal(resampled.scores_, expected)
    with pytest.raises(ValueError, match="groups are for the scorer, and fit of ByNumbers takes"):
        FilteredClassifier(NET, scorer=ByNumbers()).fit(X, Y, groups=GROUPS)


def test_the_sampler_hands_groups_to_its_scorer():
    sampler = pytest.importorskip("sam_attribution.imblearn").MislabelSampler
    settings = {"scorer": judge(validation=GroupKFold(2)), "removal_fraction": 0.1}
    found = sampler(**settings, random_state=0)
    found.fit_resample(X, Y, groups=GROUPS)
    expected = MislabelFilter(**settings, random_state=0).fit(X, Y, groups=GROUPS)
    np.testing.assert_array_equal(found.scores_, expected.scores_)


class ByNumbers(sklearn.base.BaseEstimator):
    def fit(self, X, y):
        self.scores_ = X[:, 0]
        return self


def test_groups_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        asking = judge(validation=GroupKFold(2)).set_fit_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), asking).fit(X, Y, groups=GROUPS)
    expected = judge(validation=GroupKFold(2))
    expected.fit(StandardScaler().fit_transform(X), Y, groups=GROUPS)
    np.testing.assert_array_equal(pipeline[-1].scores_, expected.scores_)
