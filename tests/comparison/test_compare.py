"""The table of a comparison against what its parts give one by one."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import SAMClassifier, SAMInfluence, SAMRegressor, ValidationData
from sam_attribution.comparison import compare
from sam_attribution.methods import GIF, HIF
from sam_attribution.metrics import agreement, detection
from sam_attribution.retraining import LeaveOneOut

rng = np.random.default_rng(0)
X, X_val = rng.normal(size=(60, 5)), rng.normal(size=(30, 5))
y, y_val = (np.argmax(rows[:, :3], 1) for rows in (X, X_val))
wrong = np.arange(60) < 10
y[wrong] = (y[wrong] + 1) % 3
validation = ValidationData(X_val, y_val)
classifier = SAMClassifier(max_epochs=5, lr=0.2, dtype="float64")


@pytest.mark.slow
def test_figures_are_those_of_the_methods_on_one_training():
    seeded = clone(classifier).set_params(random_state=3)
    methods = {"gif": "gif", "few states": GIF(n_checkpoints=2), "unrolled": "unrolled"}
    table, scores = compare(
        methods, seeded, X, y, validation=validation, truth="loo", wrong=wrong, return_scores=True
    )
    trained = FrozenEstimator(clone(seeded).fit(X, y))
    alone = {
        name: SAMInfluence(trained, method=method, validation=validation).fit(X, y).scores_
        for name, method in {**methods, "truth": "loo"}.items()
    }
    for name, values in alone.items():
        np.testing.assert_array_equal(scores[name], values)
    for name in methods:
        figures = agreement(alone[name], alone["truth"]).loc[0]
        assert table.loc[name, figures.index].to_dict() == figures.to_dict()
        assert table.loc[name, "auc"] == detection(alone[name], wrong)["auc"]
    assert table["pearson"].idxmax() == "unrolled"
    np.testing.assert_allclose(table["seconds"] / table["trainings"], table["seconds"].iloc[0]
                               / table["trainings"].iloc[0])  # fmt: skip


@pytest.mark.slow
def test_truth_may_be_known_in_part():
    truth = np.where(np.arange(60) < 8, np.arange(60.0), np.nan)
    table = compare(["gif"], classifier, X, y, validation=validation, truth=truth, random_state=0)
    assert table.loc["gif", "n"] == 8
    rows = LeaveOneOut(rows=[1, 5, 9])
    table = compare(["hif-fast"], classifier, X, y, validation=validation, truth=rows)
    assert table.loc["hif-fast", "n"] == 3


@pytest.mark.slow
def test_pipelines_frozen_models_and_regressors():
    steps = make_pipeline(StandardScaler(), classifier)
    assert compare(["tracin"], steps, X, y, validation=validation).loc["tracin", "trainings"] > 0
    frozen = FrozenEstimator(classifier.fit(X, y))
    table = compare([HIF("fast", damping=0.1)], frozen, X, y, validation=validation)
    assert np.isnan(table["trainings"]).all()
    assert table.index.tolist() == ["HIF(damping=0.1, variant='fast')"]
    regressor = SAMRegressor(max_epochs=3)
    table = compare(["unrolled"], regressor, X, X[:, 0],
                    validation=ValidationData(X_val, X_val[:, 0]), truth="loo")  # fmt: skip
    assert table.loc["unrolled", "pearson"] > 0.9


def test_the_estimator_given_stays_unfitted():
    fresh = clone(classifier)
    compare(["gif"], fresh, X, y, validation=validation, random_state=0)
    assert fresh.random_state is None
    assert not hasattr(fresh, "module_")


def test_the_training_of_a_frozen_step_takes_no_time():
    scaler = StandardScaler().fit(X)
    steps = make_pipeline(scaler, FrozenEstimator(clone(classifier).fit(scaler.transform(X), y)))
    steps.fit(X, y)
    table = compare(["gif"], steps, X, y, validation=validation, random_state=0)
    assert np.isnan(table.loc["gif", "trainings"])


@pytest.mark.parametrize(
    ("methods", "options", "error", "message"),
    [
        (["gif", "gif"], {}, ValueError, r"methods must differ, got \['gif'\]"),
        (["magic"], {}, ValueError, "methods must be among .* got 'magic'"),
        ({"a": "gif", "b": "magic"}, {}, ValueError, "methods must be among .* got 'magic'"),
        (["gif", None], {}, TypeError, "methods must be names or objects .* got None"),
        ("gif", {}, ValueError, r"methods must be a list .* got 'gif'"),
        (["gif"], {"validation": 0.2}, TypeError, "validation must be ValidationData"),
        (
            ["gif"],
            {"validation": (X, y)},
            TypeError,
            r"ValidationData\(X, y\) .* got tuple\. Split",
        ),
        (["gif"], {"truth": np.zeros(3)}, ValueError, "truth must .* 60 rows, got 3"),
        (["gif"], {"truth": "lo"}, ValueError, "truth must be among .* got 'lo'"),
        (["gif"], {"wrong": [True]}, ValueError, "wrong must .* 60 rows, got 1"),
        ([], {}, ValueError, "methods must be a list of at least one"),
    ],
)
def test_what_cannot_be_compared_is_named_before_any_training(methods, options, error, message):
    class NeverTrained(SAMClassifier):
        def fit(self, X, y=None, **fit_params):
            raise AssertionError("trained")

    options = {"validation": validation} | options
    with pytest.raises(error, match=message):
        compare(methods, NeverTrained(), X, y, **options)


def test_a_method_that_fails_does_not_take_the_others_with_it():
    bare = clone(classifier).set_params(trajectory=None, random_state=0)
    arguments = {"validation": validation, "wrong": wrong}
    with pytest.warns(FitFailedWarning, match="gif failed: ValueError.*trajectory"):
        table = compare(["gif", "grad-dot"], bare, X, y, **arguments)
    assert table.loc["gif"].isna().all()
    assert table.loc["grad-dot", "auc"] > 0.5
    with pytest.raises(ValueError, match="trajectory"):
        compare(["gif"], bare, X, y, **arguments)


def test_no_method_pays_for_first_calls(monkeypatch):
    fitted = []
    fit = SAMInfluence.fit

    def noted(self, X, y, sample_weight=None):
        fitted.append((self.method, len(y)))
        return fit(self, X, y, sample_weight)

    monkeypatch.setattr(SAMInfluence, "fit", noted)
    compare(["tracin"], classifier, X, y, validation=validation, random_state=0)
    assert fitted == [("auto", 4), ("tracin", 60)]


@pytest.mark.slow
def test_one_bar_names_the_training_and_each_method_and_the_truth_counts_its_models(capsys):
    settings = {"validation": validation, "random_state": 0}
    compare(["gif", "grad-dot"], classifier, X, y, truth=LeaveOneOut(rows=[0, 1]), **settings)
    assert capsys.readouterr().err == ""
    compare(["gif", "grad-dot"], classifier, X, y, truth="loo", verbose=1, **settings)
    shown = capsys.readouterr().err
    at = [shown.index(text) for text in ("training: ", "gif: ", "grad-dot: ", "3/3 [", "61/61 [")]
    assert at == sorted(at)
    assert "retraining" in shown[at[-2] :]
    assert "scoring rows" not in shown
