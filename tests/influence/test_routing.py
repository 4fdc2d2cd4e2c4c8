import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution.filtering import FilteredClassifier, MislabelFilter
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.models import tabular

X, y, weight = tabular(60)
X_val, y_val, _ = tabular(25, seed=1)


FIXED = {"removal_fraction": 0.1, "random_state": 0}


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def influence():
    clf = SAMClassifier(max_epochs=2, dtype="float64", random_state=0)
    return SAMInfluence(clf, validation=ValidationData(X_val, y_val), random_state=0)


def filtered(**settings):
    defaults = {"estimator": LogisticRegression(), "scorer": influence()}
    return FilteredClassifier(**defaults | FIXED | settings)


@pytest.mark.parametrize("estimator", [SAMInfluence, FilteredClassifier, MislabelFilter])
def test_weights_can_be_asked_for(estimator):
    asked = clone(estimator().set_fit_request(sample_weight=True))
    assert asked.get_metadata_routing().fit.requests["sample_weight"] is True


def test_a_classifier_inside_a_pipeline():
    asking = influence().estimator.set_fit_request(sample_weight=True)
    pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), asking)
    pipeline.fit(X, y, sample_weight=weight)
    scaled = StandardScaler().fit_transform(X)
    expected = influence().estimator.fit(scaled, y, sample_weight=weight)
    np.testing.assert_array_equal(pipeline.predict_proba(X), expected.predict_proba(scaled))


def test_influence_inside_a_pipeline():
    asking = influence().set_fit_request(sample_weight=True)
    pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), asking)
    pipeline.fit(X, y, sample_weight=weight)
    expected = influence().fit(StandardScaler().fit_transform(X), y, sample_weight=weight)
    np.testing.assert_array_equal(pipeline[-1].scores_, expected.scores_)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        make_pipeline(StandardScaler(), influence()).fit(X, y, sample_weight=weight)


def test_a_pipeline_inside_influence_gives_the_weights_to_its_last_step():
    inner = make_pipeline(StandardScaler(), influence().estimator)
    fitted = influence().set_params(estimator=inner).fit(X, y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=False):
        expected = influence().set_params(estimator=inner).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)


@pytest.mark.slow
def test_a_search_routes_weights_to_training_and_scoring():
    folds = KFold(3)
    asking = filtered().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(asking, {"removal_fraction": [0.1]}, cv=folds)
    search.fit(X, y, sample_weight=weight)
    expected = []
    for train, test in folds.split(X):
        one = filtered().fit(X[train], y[train], sample_weight=weight[train])
        kept = train[one.kept_]
        again = LogisticRegression(random_state=0).fit(X[kept], y[kept], weight[kept])
        predicted = again.predict(X[test])
        expected.append(accuracy_score(y[test], predicted, sample_weight=weight[test]))
    found = [search.cv_results_[f"split{i}_test_score"][0] for i in range(3)]
    np.testing.assert_array_equal(found, expected)


def test_a_filtered_pipeline_asks_for_itself():
    asking = make_pipeline(
        StandardScaler().set_fit_request(sample_weight=False),
        LogisticRegression().set_fit_request(sample_weight=True),
    )
    fitted = filtered(estimator=asking).fit(X, y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=False):
        expected = filtered(estimator=asking).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    silent = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        filtered(estimator=silent).fit(X, y, sample_weight=weight)


def test_a_sampler_inside_a_pipeline():
    imblearn_pipeline = pytest.importorskip("imblearn.pipeline")
    adapter = pytest.importorskip("sam_attribution.imblearn")
    sampler = adapter.MislabelSampler(influence(), **FIXED)
    pipeline = imblearn_pipeline.make_pipeline(
        sampler.set_fit_resample_request(sample_weight=True),
        LogisticRegression().set_fit_request(sample_weight=False),
    )
    pipeline.fit(X, y, sample_weight=weight)
    expected = MislabelFilter(influence(), **FIXED).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(pipeline[0].scores_, expected.scores_)
