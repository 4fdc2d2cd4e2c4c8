import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_wine, make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sam_attribution._ranking import lowest
from sam_attribution.datasets import pair_noise
from sam_attribution.detection import MislabelDetector
from sam_attribution.filtering import FilteredClassifier, MislabelFilter
from sam_attribution.filtering import _row_filter as row_filter
from sam_attribution.filtering._score_cache import _STORE
from sam_attribution.filtering._scorer import scorer_on
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier

X, y = make_blobs(60, centers=3, random_state=0)
y = np.array(["ant", "bee", "cat"])[y]


class FirstFeature(BaseEstimator):
    """The scores are the first column; every fit is counted."""

    n_fits = 0

    def __init__(self, shift=0.0, random_state=None):
        self.shift = shift
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        type(self).n_fits += 1
        self.scores_ = np.asarray(X)[:, 0] + self.shift
        if sample_weight is not None:
            self.scores_ = self.scores_ * sample_weight
        return self


class Unweighted(FirstFeature):
    def fit(self, X, y):
        return super().fit(X, y)


class Unjudged(FirstFeature):
    def fit(self, X, y):
        super().fit(X, y)
        self.scores_[:15] = np.nan
        return self


@pytest.fixture(autouse=True)
def fresh_cache():
    _STORE._entries.clear()
    FirstFeature.n_fits = Unweighted.n_fits = Unjudged.n_fits = 0


def filtered(**parameters):
    return FilteredClassifier(
        LogisticRegression(),
        **{"scorer": FirstFeature(), "removal_fraction": 0.1, "random_state": 0, **parameters},
    )


def test_drops_the_lowest_rows_and_refits():
    fitted = filtered(removal_fraction=0.1).fit(X, y)
    dropped = np.argsort(X[:, 0])[:6]
    np.testing.assert_array_equal(np.flatnonzero(~fitted.kept_), np.sort(dropped))
    np.testing.assert_array_equal(fitted.scores_, X[:, 0])
    again = LogisticRegression(random_state=0).fit(X[fitted.kept_], y[fitted.kept_])
    np.testing.assert_array_equal(fitted.estimator_.coef_, again.coef_)
    np.testing.assert_array_equal(fitted.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(fitted.decision_function(X), again.decision_function(X))
    np.testing.assert_array_equal(fitted.classes_, again.classes_)
    assert fitted.n_features_in_ == 2
    assert fitted.score(X, y) == again.score(X, y)


def test_warns_what_share_could_not_be_judged():
    with pytest.warns(UserWarning, match=r"25\.0% of the rows have no score.*cross-validation"):
        fitted = filtered(scorer=Unjudged()).fit(X, y)
    assert fitted.kept_[:15].all()
    assert (~fitted.kept_).sum() == round(0.1 * 45)  # of the judged rows


def test_a_splitter_is_not_advised_to_who_has_one():
    scorer = Unjudged()
    scorer.validation = StratifiedKFold(2)
    with pytest.warns(
        UserWarning, match="in any split. Use a splitter that trains on every row"
    ) as caught:
        row_filter._check_scores(scorer.fit(X, y).scores_, len(y), scorer.validation)
    assert "scorer held them out as validation rows" not in str(caught[0].message)


def test_fraction_zero_scores_nothing():
    fitted = filtered(removal_fraction=0.3).fit(X, y)
    fitted.set_params(removal_fraction=0).fit(X, y)
    assert FirstFeature.n_fits == 1
    assert fitted.kept_.all()
    assert not hasattr(fitted, "scores_")


def test_a_class_that_would_vanish_raises():
    lone = np.where(np.argsort(np.argsort(X[:, 0])) < 5, "rare", y)
    with pytest.raises(ValueError, match="drop every row of class 'rare'"):
        filtered().fit(X, lone)


def test_a_class_that_loses_most_of_its_rows_is_named():
    lowest = np.argsort(np.argsort(X[:, 0]))
    rare = np.where(lowest < 8, "rare", y)  # its 8 rows are the lowest, n / 10 of them go
    with pytest.warns(UserWarning, match=r"drops \d of the 8 rows of class 'rare'"):
        filtered(removal_fraction=6 / len(X)).fit(X, rare)


class Decided(FirstFeature):
    """Calls the rows below `limit` suspicious."""

    def __init__(self, limit=-np.inf, random_state=None):
        self.limit = limit
        self.random_state = random_state

    def fit(self, X, y):
        type(self).n_fits += 1
        self.scores_ = np.asarray(X)[:, 0]
        self.suspicious_ = self.scores_ < self.limit
        return self


AUTO = {"removal_fraction": "auto", "random_state": 0}


def test_auto_drops_what_the_scorer_calls_suspicious():
    limit = np.quantile(X[:, 0], 0.07)
    fitted = filtered(scorer=Decided(limit), **AUTO).fit(X, y)
    np.testing.assert_array_equal(fitted.kept_, X[:, 0] >= limit)
    assert filtered(scorer=Decided(), **AUTO).fit(X, y).kept_.all()
    kept, _ = MislabelFilter(Decided(limit), random_state=0).fit_resample(X, y)
    np.testing.assert_array_equal(kept, X[fitted.kept_])


def test_auto_is_cached_with_the_fractions(tmp_path):
    Decided.n_fits = 0
    limit = np.quantile(X[:, 0], 0.07)
    settings = {"scorer": Decided(limit), "random_state": 0, "memory": str(tmp_path)}
    dropped = [
        ~filtered(**settings, removal_fraction=fraction).fit(X, y).kept_
        for fraction in ("auto", 0.05, 0, "auto")
    ]
    _STORE._entries.clear()  # as another process
    dropped.append(~filtered(**settings, removal_fraction="auto").fit(X, y).kept_)
    assert Decided.n_fits == 1
    np.testing.assert_array_equal(dropped[0], X[:, 0] < limit)
    assert (dropped[0] == dropped[3]).all()
    assert (dropped[0] == dropped[4]).all()
    assert dropped[0][dropped[1]].all()


def test_under_auto_a_class_of_which_all_is_suspicious_stays():
    order = np.argsort(np.argsort(X[:, 0]))
    lone = np.where(order < 5, "rare", y)
    limit = np.sort(X[:, 0])[8]
    with pytest.warns(UserWarning, match="Every row of class 'rare' is suspicious, so all of"):
        fitted = filtered(scorer=Decided(limit), **AUTO).fit(X, lone)
    np.testing.assert_array_equal(
        np.flatnonzero(~fitted.kept_), np.flatnonzero((order >= 5) & (order < 8))
    )
    assert "rare" in fitted.classes_


def test_auto_names_a_class_that_loses_most_of_its_rows():
    rare = np.where(np.argsort(np.argsort(X[:, 0])) < 8, "rare", y)
    with pytest.warns(UserWarning, match="auto drops 6 of the 8 rows of class 'rare'"):
        filtered(scorer=Decided(np.sort(X[:, 0])[6]), **AUTO).fit(X, rare)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (SAMInfluence(), "SAMInfluence has scores_ only. Give a fraction"),
        (FirstFeature(), "FirstFeature has scores_ only. Give a fraction"),
    ],
)
def test_auto_needs_a_scorer_that_decides(scorer, message, monkeypatch):
    monkeypatch.setattr(SAMClassifier, "fit", None)  # said before anything is trained
    for filtering in (filtered(scorer=scorer, **AUTO), MislabelFilter(scorer, **AUTO)):
        with pytest.raises(ValueError, match=message):
            filtering.fit(X, y)


@pytest.mark.slow
def test_the_default_drops_wrong_labels_and_nothing_of_clean_data():
    wine, cultivar = load_wine(return_X_y=True)
    noisy, wrong = pair_noise(cultivar, 0.15, random_state=0)
    classifier = make_pipeline(StandardScaler(), SAMClassifier(max_epochs=20, lr=0.1))
    model = FilteredClassifier(classifier, random_state=0)
    dropped = ~model.fit(wine, noisy).kept_
    assert wrong[dropped].mean() > 0.7
    assert dropped[wrong].mean() > 0.7
    assert model.fit(wine, cultivar).kept_.all()


def test_weights_reach_the_scorer_and_the_refit():
    weight = np.linspace(0.1, 3, len(X))
    fitted = filtered().fit(X, y, sample_weight=weight)
    kept = ~lowest(X[:, 0] * weight, 0.1)
    again = LogisticRegression(random_state=0).fit(X[kept], y[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(fitted.estimator_.coef_, again.coef_)

    fitted = filtered(scorer=Unweighted()).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(fitted.scores_, X[:, 0])


def test_weights_reach_the_last_step_of_a_pipeline():
    weight = np.linspace(0.1, 3, len(X))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    fitted = filtered().set_params(estimator=pipeline).fit(X, y, sample_weight=weight)
    kept = fitted.kept_
    again = clone(pipeline).fit(X[kept], y[kept], logisticregression__sample_weight=weight[kept])
    np.testing.assert_allclose(fitted.predict_proba(X), again.predict_proba(X))


def test_the_random_state_fills_what_is_unset():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    fitted = filtered(random_state=7).set_params(estimator=pipeline).fit(X, y)
    assert fitted.estimator_[-1].random_state == 7
    assert pipeline[-1].random_state is None
    fitted.set_params(estimator=LogisticRegression(random_state=3)).fit(X, y)
    assert fitted.estimator_.random_state == 3


def test_offers_the_methods_of_the_estimator():
    perceptron = filtered().set_params(estimator=Perceptron())
    assert not hasattr(perceptron, "predict_proba")
    assert hasattr(perceptron, "decision_function")
    assert hasattr(perceptron.fit(X, y), "decision_function")
    assert not hasattr(FilteredClassifier(), "n_features_in_")


@pytest.mark.parametrize("as_given", [csr_array, list, pd.DataFrame])
def test_other_containers(as_given):
    scorer = Fixed(X[:, 0])
    expected = filtered(scorer=scorer).fit(X, y)
    rows = X.tolist() if as_given is list else as_given(X)
    fitted = filtered(scorer=scorer).fit(rows, y.tolist())
    np.testing.assert_allclose(fitted.predict_proba(rows), expected.predict_proba(X))


@pytest.mark.parametrize("as_given", [np.asarray, csr_array, list, pd.DataFrame])
def test_the_filter_keeps_what_the_classifier_keeps(as_given):
    rows = X.tolist() if as_given is list else as_given(X)
    labels = pd.Series(y, name="animal") if as_given is pd.DataFrame else y
    cleaner = MislabelFilter(Fixed(X[:, 0]), removal_fraction=0.2, random_state=0)
    X_kept, y_kept = cleaner.fit_resample(rows, labels)
    kept = filtered(removal_fraction=0.2).fit(X, y).kept_
    assert type(X_kept) is type(rows)
    assert type(y_kept) is type(labels)
    dense = X_kept.toarray() if as_given is csr_array else X_kept
    np.testing.assert_array_equal(dense, X[kept])
    np.testing.assert_array_equal(y_kept, y[kept])
    np.testing.assert_array_equal(cleaner.sample_indices_, np.flatnonzero(kept))
    np.testing.assert_array_equal(cleaner.scores_, X[:, 0])


def test_the_filter_shares_scores_with_the_classifier():
    filtered(removal_fraction=0.2).fit(X, y)
    MislabelFilter(FirstFeature(), removal_fraction=0.1, random_state=0).fit(X, y)
    assert FirstFeature.n_fits == 1
    with pytest.raises(ValueError, match="drop every row of class"):
        MislabelFilter(FirstFeature(), removal_fraction=0.9, random_state=0).fit(X, y)


class Fixed(BaseEstimator):
    def __init__(self, scores=()):
        self.scores = scores

    def fit(self, X, y):
        self.scores_ = np.asarray(self.scores)
        return self


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"removal_fraction": 1.0}, "'removal_fraction' parameter of FilteredClassifier"),
        ({"removal_fraction": -0.1}, "'removal_fraction' parameter of FilteredClassifier"),
        ({"scorer": "gif"}, "'scorer' parameter of FilteredClassifier"),
        ({"memory": 3}, "'memory' parameter of FilteredClassifier"),
        ({"scorer": Fixed([1.0, 2.0])}, r"scores_ of shape \(60,\), one for each row, got shape"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        filtered(**parameters).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("make_X", [np.asarray, pd.DataFrame])
def test_a_search_scores_every_fold_once(make_X):
    grid = {"removal_fraction": [0, 0.05, 0.1, 0.2]}
    search = GridSearchCV(filtered(), grid, cv=StratifiedKFold(5)).fit(make_X(X), y)
    refit_scores = search.best_params_["removal_fraction"] > 0
    assert FirstFeature.n_fits == 5 + refit_scores


def test_another_scorer_seed_or_row_is_scored_anew():
    filtered().fit(X, y)
    for other in (filtered(scorer=FirstFeature(shift=1.0)), filtered(random_state=1)):
        other.fit(X, y)
    filtered().fit(X[::-1], y[::-1])
    filtered().fit(X, y, sample_weight=np.ones(len(X)))
    assert FirstFeature.n_fits == 5
    filtered().fit(X.copy(), y.copy())
    assert FirstFeature.n_fits == 5


def test_without_a_seed_nothing_is_cached():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            filtered(random_state=None).fit(X, y)
    assert FirstFeature.n_fits == 2


def test_without_a_memory_nothing_is_cached(tmp_path):
    filtered().fit(X, y)
    for _ in range(2):
        filtered(memory=None).fit(X, y)
    assert FirstFeature.n_fits == 3
    _STORE._entries.clear()
    filtered(memory=None).fit(X, y)
    assert not _STORE._entries


def test_without_a_seed_a_memory_is_declined_aloud(tmp_path):
    with pytest.warns(UserWarning, match="not cached: random_state=None") as caught:
        filtered(random_state=None, memory=str(tmp_path)).fit(X, y)
    assert caught[0].filename == __file__


def test_a_memory_outlives_the_process(tmp_path):
    first = filtered(memory=tmp_path).fit(X, y)
    _STORE._entries.clear()
    second = filtered(memory=str(tmp_path)).fit(X, y)
    assert FirstFeature.n_fits == 1
    np.testing.assert_array_equal(first.scores_, second.scores_)


def test_a_memory_also_gets_what_the_process_knows_already(tmp_path):
    filtered().fit(X, y)
    filtered(memory=tmp_path).fit(X, y)
    assert FirstFeature.n_fits == 1
    _STORE._entries.clear()
    filtered(memory=tmp_path).fit(X, y)
    assert FirstFeature.n_fits == 1


def test_the_caller_owns_the_scores():
    filtered().fit(X, y).scores_[:] = 0
    np.testing.assert_array_equal(filtered().fit(X, y).scores_, X[:, 0])


SCALED = make_pipeline(StandardScaler(), SAMClassifier(rho=0.3))


@pytest.mark.parametrize("scorer", [None, MislabelDetector(), SAMInfluence(method="grad-dot")])
@pytest.mark.parametrize("estimator", [SAMClassifier(rho=0.3), SCALED])
def test_a_scorer_without_an_estimator_trains_that_of_the_filter(estimator, scorer):
    found = scorer_on(estimator, scorer)
    assert type(found) is type(scorer or MislabelDetector())
    assert repr(found.estimator) == repr(estimator)
    assert found.estimator is not estimator
    assert scorer is None or scorer.estimator is None


def test_a_scorer_keeps_the_estimator_that_it_names():
    own = SAMClassifier(rho=0.7)
    assert repr(scorer_on(SCALED, MislabelDetector(own)).estimator) == repr(own)


def test_a_net_stands_in_for_a_classifier_that_is_none():
    assert isinstance(scorer_on(LogisticRegression()).estimator, SAMClassifier)
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    nested = scorer_on(Pipeline([("all", inner)])).estimator
    assert [type(step) for _, step in nested[-1].steps] == [StandardScaler, SAMClassifier]
    scaled = scorer_on(make_pipeline(StandardScaler(), LogisticRegression())).estimator
    assert [type(step) for _, step in scaled.steps] == [StandardScaler, SAMClassifier]


def test_a_copy_of_a_frozen_classifier_is_trained_to_score():
    frozen_net = make_pipeline(StandardScaler(), FrozenEstimator(SCALED[-1]))
    for frozen in (FrozenEstimator(SCALED), frozen_net):
        found = scorer_on(frozen).estimator
        assert [repr(step) for _, step in found.steps] == [repr(step) for _, step in SCALED.steps]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "scorer"), [(0, None), (1, MislabelDetector())])
def test_rows_reach_a_scorer_as_they_reach_the_classifier(seed, scorer):
    """Features of wine are hundreds apart: without the scaler a network learns nothing."""
    wine, cultivar = load_wine(return_X_y=True)
    noisy, wrong = pair_noise(cultivar, 0.15, random_state=seed)
    classifier = make_pipeline(StandardScaler(), SAMClassifier(max_epochs=30, lr=0.1))
    model = FilteredClassifier(classifier, scorer=scorer, random_state=seed).fit(wine, noisy)
    assert wrong[~model.kept_].mean() > 0.8


@pytest.mark.slow
def test_a_search_with_the_default_scorer_scores_every_fold_once(monkeypatch):
    n_fits, fit = [], MislabelDetector.fit

    def counted(self, *args, **kwargs):
        n_fits.append(1)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(MislabelDetector, "fit", counted)
    model = FilteredClassifier(SAMClassifier(max_epochs=3), random_state=0)
    search = GridSearchCV(model, {"removal_fraction": [0, 0.05, 0.1, 0.2]}, cv=5)
    search.fit(X.astype("float32"), y)
    assert len(n_fits) == 5 + (search.best_params_["removal_fraction"] > 0)
    assert not np.isnan(search.best_estimator_.fit(X.astype("float32"), y).predict_proba(X)).any()


def expected_failures(estimator):
    reason = (
        "removal_fraction counts rows and a validation fold takes rows, not weight: a row of "
        "weight 2 is one row to drop or to validate on, its repetition is two"
    )
    return {
        "check_sample_weight_equivalence_on_dense_data": reason,
        "check_sample_weight_equivalence_on_sparse_data": reason,
    }


@pytest.mark.slow
@parametrize_with_checks(
    [
        FilteredClassifier(
            SAMClassifier(max_epochs=4, optimizer=torch.optim.Adam, lr=0.03, verbose=0),
            random_state=0,
        ),
        MislabelFilter(
            SAMInfluence(SAMClassifier(max_epochs=3, verbose=0), validation=StratifiedKFold(2)),
            removal_fraction=0.1,
            random_state=0,
        ),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
