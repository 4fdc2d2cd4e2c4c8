import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.influence.test_estimator import WEIGHT_CHECKS
from tests.models import tabular

SMALL = {"max_epochs": 3, "batch_size": 8, "dtype": "float64", "random_state": 0}
X, y, weight = tabular(60)
X, names = 5 + 3 * X, np.array(["ant", "bee", "cat"])[y]
X_val, y_val, _ = tabular(25, seed=1)
X_val, names_val = 5 + 3 * X_val, np.array(["ant", "bee", "cat"])[y_val]
HELD_OUT = ValidationData(X_val, names_val)


@pytest.mark.slow
@parametrize_with_checks(
    [SAMInfluence(make_pipeline(StandardScaler(), SAMClassifier(max_epochs=2)), method="gif")],
    expected_failed_checks=lambda estimator: WEIGHT_CHECKS,
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def by_gif(estimator, validation):
    """Scores by a method that costs little: what is asked here is the same for all."""
    return SAMInfluence(estimator, method="gif", validation=validation)


def mixed(rows):
    """A frame with gaps and a column of words, whose content is in `rows`."""
    frame = pd.DataFrame(rows.copy(), columns=[f"f{i}" for i in range(6)])
    frame.loc[::7, "f1"] = np.nan
    frame["word"] = np.where(rows[:, 2] > 5, "high", "low")
    return frame


ENCODE = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), [f"f{i}" for i in range(6)]),
    (OneHotEncoder(), ["word"]),
)
COLOURS = np.where(X[:, 0] > 5, "red", "blue")
TEXTS = np.array([f"{name} {colour}" for name, colour in zip(names, COLOURS, strict=True)])
CASES = {
    "scaler": (make_pipeline(StandardScaler()), X, X_val),
    "pca, whose fit_transform is not its transform": (make_pipeline(PCA(4)), X, X_val),
    "mixed columns": (make_pipeline(ENCODE), mixed(X), mixed(X_val)),
    "texts": (make_pipeline(TfidfVectorizer()), TEXTS, TEXTS[:25]),
    "nested": (make_pipeline(make_pipeline(StandardScaler(), PCA(5)), "passthrough"), X, X_val),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_the_bare_classifier_on_the_transformed_rows(case):
    steps, rows, rows_val = CASES[case]
    whole = Pipeline([*clone(steps).steps, ("sam", SAMClassifier(**SMALL))])
    fitted = by_gif(whole, ValidationData(rows_val, names_val)).fit(
        rows, names, sample_weight=weight
    )
    steps = clone(steps)
    inner = steps.fit_transform(rows, names), steps.transform(rows_val), steps.transform(rows)
    bare = by_gif(SAMClassifier(**SMALL), ValidationData(inner[1], names_val)).fit(
        inner[0], names, sample_weight=weight
    )
    np.testing.assert_array_equal(fitted.scores_, bare.scores_)
    np.testing.assert_array_equal(fitted.transform(rows), bare.transform(inner[2]))
    np.testing.assert_array_equal(
        fitted.attribute(rows_val, names_val), bare.attribute(inner[1], names_val)
    )
    np.testing.assert_array_equal(
        fitted.estimator_.predict_proba(rows_val), bare.estimator_.predict_proba(inner[1])
    )
    np.testing.assert_array_equal(fitted.score_samples(rows), bare.score_samples(inner[2]))


@pytest.mark.slow
def test_the_steps_see_training_rows_only(tmp_path):
    """With a memory the pipeline fits copies of its steps."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    pipeline = make_pipeline(StandardScaler(), PCA(4), SAMClassifier(**SMALL), memory=str(tmp_path))
    fitted = SAMInfluence(pipeline, validation=folds).fit(X, names)
    for (train, _), estimator in zip(folds.split(X, names), fitted.estimators_, strict=True):
        np.testing.assert_allclose(estimator[0].mean_, X[np.sort(train)].mean(0))
    assert not hasattr(pipeline[0], "mean_")


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_frozen_scores_are_those_of_training_again(pipeline, weighted):
    estimator = SAMClassifier(**SMALL)
    fit_params = {"sample_weight": weight} if weighted else {}
    if pipeline:
        estimator = make_pipeline(StandardScaler(), PCA(4), estimator)
        named = {f"samclassifier__{name}": value for name, value in fit_params.items()}
    expected = by_gif(estimator, HELD_OUT).fit(X, names, **fit_params)
    given = clone(estimator).fit(X, names, **(named if pipeline else fit_params))
    before = given.predict_proba(X)
    frozen = by_gif(FrozenEstimator(given), HELD_OUT).fit(X, names, **fit_params)
    np.testing.assert_array_equal(frozen.scores_, expected.scores_)
    np.testing.assert_array_equal(frozen.transform(X), expected.transform(X))
    assert frozen.estimator_.estimator is given
    np.testing.assert_array_equal(given.predict_proba(X), before)


def test_a_frozen_classifier_at_the_end_of_a_pipeline():
    scaled = StandardScaler().fit_transform(X)
    given = SAMClassifier(**SMALL).fit(scaled, names)
    ends_frozen = make_pipeline(StandardScaler(), FrozenEstimator(given))
    fitted = SAMInfluence(ends_frozen, validation=HELD_OUT).fit(X, names)
    expected = SAMInfluence(make_pipeline(StandardScaler(), SAMClassifier(**SMALL)))
    expected.set_params(validation=HELD_OUT).fit(X, names)
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)
    with pytest.raises(ValueError, match="a frozen estimator needs validation=ValidationData"):
        SAMInfluence(ends_frozen).fit(X, names)


@pytest.mark.parametrize("validation", [0.2, StratifiedKFold(3)])
def test_a_frozen_estimator_is_not_validated_on_its_own_rows(validation):
    frozen = FrozenEstimator(SAMClassifier(**SMALL).fit(X, names))
    with pytest.raises(ValueError, match="would hold out rows that it was trained on"):
        SAMInfluence(frozen, validation=validation).fit(X, names)


def test_a_frozen_estimator_wants_its_own_rows():
    frozen = FrozenEstimator(make_pipeline(PCA(4), SAMClassifier(**SMALL)).fit(X, names))
    for rows, labels in [(X[::-1], names[::-1]), (X[:-1], names[:-1]), (X + 1e-6, names)]:
        with pytest.raises(ValueError, match="trajectory was recorded on other data"):
            SAMInfluence(frozen, validation=HELD_OUT).fit(rows, labels)


@pytest.mark.slow
def test_frozen_without_states_has_the_methods_of_the_final_model():
    given = SAMClassifier(trajectory=None, **SMALL).fit(X, names)
    frozen = SAMInfluence(FrozenEstimator(given), validation=HELD_OUT, method="hif-fast")
    expected = SAMInfluence(SAMClassifier(**SMALL), validation=HELD_OUT, method="hif-fast")
    with pytest.warns(UserWarning, match="the SAM Jacobian has eigenvalues near 0"):
        frozen.fit(X, names)
    with pytest.warns(UserWarning, match="the SAM Jacobian has eigenvalues near 0"):
        expected.fit(X, names)
    np.testing.assert_array_equal(frozen.scores_, expected.scores_)
    with pytest.raises(ValueError, match='trajectory="auto"'):
        frozen.set_params(method="gif").fit(X, names)


class Resampler(StandardScaler):
    def fit_resample(self, X, y):
        return X, y


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LogisticRegression(), "a Pipeline that ends in one, or a FrozenEstimator of either"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "estimator must be a SAMClass"),
        (FrozenEstimator(LogisticRegression()), "estimator must be a SAMClassifier"),
        (make_pipeline(Resampler(), SAMClassifier()), "step 'resampler', which resamples"),
        (FrozenEstimator(SAMClassifier()), "is not fitted yet"),
        (3, "The 'estimator' parameter of SAMInfluence"),
    ],
)
def test_other_estimators_are_refused(estimator, message):
    with pytest.raises(ValueError, match=message):
        SAMInfluence(estimator, validation=HELD_OUT).fit(X, names)


def test_a_frozen_estimator_stays_on_its_device():
    frozen = FrozenEstimator(SAMClassifier(**SMALL).fit(X, names))
    SAMInfluence(frozen, validation=HELD_OUT, device="cpu").fit(X, names)
    with pytest.raises(ValueError, match="cannot move a frozen estimator"):
        SAMInfluence(frozen, validation=HELD_OUT, device="cuda").fit(X, names)
