import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sam_attribution.exceptions import AttributionWarning
from sam_attribution.filtering import FilteredClassifier, MislabelFilter
from sam_attribution.training import SAMClassifier
from tests.filtering.test_filters import FirstFeature, X, fresh_cache, y  # noqa: F401

pytest.importorskip("imblearn")

from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import parametrize_with_checks

from sam_attribution.imblearn import MislabelSampler
from sam_attribution.influence import SAMInfluence


@pytest.mark.slow
@parametrize_with_checks(
    [
        MislabelSampler(
            SAMInfluence(
                SAMClassifier(max_epochs=1, batch_size=500),
                evaluation="margin",
                validation=StratifiedKFold(2),
            ),
            removal_fraction=0.01,
            random_state=0,
        )
    ],
)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("sampler", [MislabelFilter, MislabelSampler])
def test_in_a_pipeline_it_is_the_filtered_classifier(sampler):
    cleaner = sampler(FirstFeature(), removal_fraction=0.2, random_state=0)
    fitted = make_pipeline(cleaner, LogisticRegression(random_state=0)).fit(X, y)
    expected = FilteredClassifier(
        LogisticRegression(), scorer=FirstFeature(), removal_fraction=0.2, random_state=0
    ).fit(X, y)
    np.testing.assert_array_equal(fitted[0].sample_indices_, np.flatnonzero(expected.kept_))
    np.testing.assert_array_equal(fitted[0].scores_, expected.scores_)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [MislabelFilter, MislabelSampler])
def test_a_search_over_fractions_scores_every_fold_once(sampler):
    name = sampler.__name__.lower()
    pipeline = make_pipeline(sampler(FirstFeature(), random_state=0), LogisticRegression())
    grid = {f"{name}__removal_fraction": [0, 0.05, 0.1, 0.2]}
    search = GridSearchCV(pipeline, grid, cv=5).fit(X, y)
    assert FirstFeature.n_fits == 5 + (search.best_params_[f"{name}__removal_fraction"] > 0)


def test_a_warning_of_the_sampler_names_the_line_that_called():
    sampler = MislabelSampler(FirstFeature(), removal_fraction=0.3)
    rare = np.where(np.argsort(np.argsort(X[:, 0])) < len(X) * 0.4, 0, 1)
    with pytest.warns(AttributionWarning, match="Rare classes are hard to judge") as caught:
        sampler.fit_resample(X, rare)
    assert {each.filename for each in caught} == {__file__}


def test_the_sampler_gives_what_the_filter_gives():
    weight = np.linspace(0.1, 3, len(X))
    sampled = MislabelSampler(FirstFeature(), removal_fraction=0.1, random_state=0)
    filtered = MislabelFilter(FirstFeature(), removal_fraction=0.1, random_state=0)
    for one, other in zip(
        sampled.fit_resample(X, y, sample_weight=weight),
        filtered.fit_resample(X, y, sample_weight=weight),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(sampled.scores_, filtered.scores_)
    kept = sampled.set_params(removal_fraction=0).fit_resample(X, y)
    np.testing.assert_array_equal(kept[0], X)
    assert not hasattr(sampled, "scores_")


def test_indices_in_another_order_are_refused():
    table = pd.DataFrame(X)
    with pytest.raises(ValueError, match="X and y have the same index in another order"):
        MislabelSampler(FirstFeature()).fit_resample(table[::-1], pd.Series(y))
