import warnings

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, SAMRegressor, ValidationData
from sam_attribution.methods import HIF, Unrolled
from tests.models import tabular, targets

X, y, _ = tabular()
X_val, y_val, _ = tabular(30, seed=5)
held_out = ValidationData(X_val, y_val)
COLUMNS = ["split", "check", "value", "status", "meaning", "advice"]


def linear(**settings):
    options = {"lr": 0.1, "max_epochs": 3, "rho": 0.02, "batch_size": -1, "dtype": "float64"}
    return SAMClassifier(nn.Linear, module__in_features=6, module__out_features=3,
                         **options | settings)  # fmt: skip


def rough(max_epochs=10):
    """A ReLU network whose training is a lottery."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    settings = {"lr": 0.3, "optimizer__momentum": 0.9, "batch_size": 8, "max_epochs": max_epochs}
    return SAMClassifier(network, rho=0.1, dtype="float64", random_state=0, **settings)


def influence(estimator, method="unrolled", **settings):
    options = {"validation": held_out, "random_state": 0} | settings
    return SAMInfluence(estimator, method=method, **options)


def status(table, check):
    (found,) = table.loc[table["check"] == check, "status"].unique()
    return found


def test_a_smooth_run_is_fine_and_fit_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = influence(linear()).fit(X, y)
    table = fitted.diagnose(smoothness="weights")
    assert table.columns.tolist() == COLUMNS
    for check in ("left_out_error", "metasmoothness", "replay_distance"):
        assert status(table, check) == "fine"
    assert fitted.diagnostics_.loc[0, "metasmoothness"] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_rough_run_warns():
    with pytest.warns(UserWarning, match="do not trust scores of single rows"):
        fitted = influence(rough()).fit(X, y)
    table = fitted.diagnose()
    assert status(table, "left_out_error") == "bad"
    assert fitted.diagnostics_.loc[0, "left_out_error"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("method", "calibrate"), [("unrolled", False), ("gif", True)])
def test_the_advice_to_refine_can_be_followed_as_it_stands(method, calibrate):
    table = influence(rough(), method).fit(X, y).diagnose(n_left_out=6).set_index("check")
    advice = table.loc["left_out_error", "advice"]
    assert "refine=20" in advice
    assert ("calibrate=True" in advice) == calibrate
    influence(rough(), method, refine=20, calibrate=calibrate).fit(X, y)


@pytest.mark.parametrize("method", ["grad-cos", "grad-dot", "relatif", "trak"])
def test_a_method_without_a_unit_is_judged_by_the_order_of_the_rows_left_out(method):
    fitted = influence(linear(), method).fit(X, y)
    table = fitted.diagnose(n_left_out=6)
    predicted, effects = (fitted.left_out_[name] for name in ("predicted", "effect"))
    expected = spearmanr(predicted, effects).statistic
    found = table.set_index("check")
    assert found.loc["left_out_rank", "value"] == pytest.approx(expected)
    assert "left_out_error" not in found.index
    assert not found["advice"].str.contains("refine").any()
    assert np.isnan(fitted.remove([3, 5]).edit_["predicted_rise"])


def test_a_method_with_a_unit_is_judged_by_the_size():
    table = influence(linear(), "gif").fit(X, y).diagnose(n_left_out=6)
    assert {"left_out_error"} == {check for check in table["check"] if "left_out" in check}


@pytest.mark.slow
def test_a_rough_run_does_not_follow_its_scores():
    with pytest.warns(UserWarning, match="the loss does not follow the scores"):
        fitted = influence(rough(), Unrolled(check="prediction")).fit(X, y)
    assert fitted.diagnostics_.loc[0, "linearity_error"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("check", ["weights", "starts"])
def test_metasmoothness_warns_too(check):
    with pytest.warns(UserWarning, match="differs slightly from this one gives different scores"):
        fitted = influence(rough(), Unrolled(check=check)).fit(X, y)
    assert fitted.diagnostics_.loc[0, "metasmoothness"] < 0.5
    assert "roughness" not in fitted.diagnostics_


@pytest.mark.slow
def test_the_check_can_be_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = influence(rough(), Unrolled(check=None)).fit(X, y)
    assert not {"roughness", "metasmoothness", "seconds_checking"} & set(fitted.diagnostics_)


@pytest.mark.slow
def test_other_methods_are_told_whether_the_training_can_be_attributed():
    expected = influence(rough(4), Unrolled(check=None)).fit(X, y)
    fitted = influence(rough(4), HIF(damping=0.1)).fit(X, y)
    for smoothness in ("prediction", "starts"):
        expected.diagnose(smoothness=smoothness)
        fitted.diagnose(smoothness=smoothness)
    columns = ["linearity_error", "roughness", "metasmoothness", "curvature", "stationarity"]
    np.testing.assert_allclose(
        fitted.diagnostics_[columns].to_numpy(),
        expected.diagnostics_[columns].to_numpy(),
        rtol=1e-6,
    )


@pytest.mark.slow
def test_a_repetition_in_float64_is_checked_in_float64():
    classifier = linear(dtype="float32", max_epochs=5)
    fitted = influence(classifier, Unrolled(precision="float64")).fit(X, y)
    expected = influence(linear(max_epochs=5)).fit(X, y)
    for each in (fitted, expected):
        each.diagnose(smoothness="prediction")
    for column in ("left_out_error", "linearity_error", "roughness"):
        assert fitted.diagnostics_.loc[0, column] == pytest.approx(
            expected.diagnostics_.loc[0, column], abs=1e-4
        )


def test_every_split_has_its_lines():
    fitted = influence(linear(), "gif", validation=StratifiedKFold(3)).fit(X, y)
    table = fitted.diagnose()
    assert table["check"].tolist() == 3 * ["validation_skill", "edge_of_stability"]
    assert table["split"].tolist() == np.repeat([0, 1, 2], 2).tolist()
    assert fitted.diagnostics_["stationarity"].notna().all()  # known, and no fault of this method


def skill_of(fitted):
    table = fitted.diagnose()
    return table.loc[table["check"] == "validation_skill", "value"].item()


def test_skill_is_zero_for_the_commonest_class_and_one_if_all_is_right():
    common = np.r_[np.flatnonzero(y_val == 0), np.flatnonzero(y_val > 0)[:5]]  # 2 of 3
    uneven = ValidationData(X_val[common], y_val[common])
    fitted = influence(linear(max_epochs=30), "gif", validation=uneven).fit(X, y)
    right = np.mean(fitted.estimator_.predict(uneven.X) == uneven.y)
    share = np.mean(uneven.y == 0)
    assert share > 0.6
    assert skill_of(fitted) == pytest.approx((right - share) / (1 - share))


def test_a_model_that_knows_the_commonest_class_only_has_no_skill():
    labels = np.where(np.arange(200) % 10 == 0, "rare", "common")
    rows = np.random.default_rng(0).normal(size=(200, 6))
    held_out = ValidationData(rows[:100], labels[:100])
    model = SAMClassifier(max_epochs=2, random_state=0)
    with pytest.warns(UserWarning, match="predicts 'common' for every validation row"):
        fitted = influence(model, "gif", validation=held_out).fit(rows[100:], labels[100:])
    table = fitted.diagnose()
    assert skill_of(fitted) == 0
    assert status(table, "validation_skill") == "bad"


def test_validation_rows_of_one_class_say_nothing_about_skill():
    one = ValidationData(X_val[y_val == 0], y_val[y_val == 0])
    table = influence(linear(), "gif", validation=one).fit(X, y).diagnose()
    assert "validation_skill" not in set(table["check"])


def test_a_regressor_has_its_r2():
    data = targets(60)[:2]
    fitted = SAMInfluence(SAMRegressor(max_epochs=5), random_state=0).fit(*data)
    table = fitted.diagnose()
    skill = table.loc[table["check"] == "validation_skill", "value"].item()
    assert skill == fitted.diagnostics_.loc[0, "validation_r2"]


@pytest.mark.slow
def test_stationarity_matters_to_hif():
    far, near = linear(max_epochs=1), linear(max_epochs=600, lr=0.3, optimizer__weight_decay=0.1)
    tables = [influence(each, "hif").fit(X, y).diagnose() for each in (far, near)]
    assert [status(table, "stationarity") for table in tables] == ["bad", "fine"]


@pytest.mark.slow
def test_targets_in_other_units_are_as_near_to_rest():
    rows, target, _ = targets(40)
    start = nn.Linear(6, 1).double()
    nn.init.zeros_(start.weight), nn.init.zeros_(start.bias)
    found = []
    for unit in (1.0, 1000.0):
        regressor = SAMRegressor(start, rho=0.0, lr=0.01, max_epochs=30, dtype="float64")
        held_out = ValidationData(rows[:10], target[:10] * unit)
        fitted = influence(regressor, "hif", validation=held_out).fit(rows, target * unit)
        table = fitted.diagnose()
        found.append(table.loc[table["check"] == "stationarity", ["value", "status"]].iloc[0])
    assert found[0]["value"] == pytest.approx(found[1]["value"])
    assert found[0]["status"] == found[1]["status"]


@pytest.mark.slow
def test_seeds_rank_alike_as_spearman_says():
    fitted = influence(linear(batch_size=8), "gif").fit(X, y)
    table = fitted.diagnose(X, y, n_seeds=1)
    (seed,) = np.random.SeedSequence([fitted._seed, 1]).generate_state(1)
    other = influence(linear(batch_size=8, random_state=int(seed)), "gif").fit(X, y)
    expected = spearmanr(fitted.scores_, other.scores_).statistic
    assert 0 < expected < 1
    assert fitted.diagnostics_.loc[0, "rank_stability"] == pytest.approx(expected)
    assert table["check"].tolist()[-1] == "rank_stability"


def test_other_seeds_score_the_same_rows(monkeypatch):
    """Also where a fraction is held out, which another seed would draw anew."""
    scored, fit = [], SAMInfluence.fit

    def noted(self, *args, **kwargs):
        fitted = fit(self, *args, **kwargs)
        scored.append(np.isnan(fitted.scores_))
        return fitted

    fitted = influence(SAMClassifier(max_epochs=2), method="grad-dot", validation=0.3).fit(X, y)
    monkeypatch.setattr(SAMInfluence, "fit", noted)
    fitted.diagnose(X, y, n_seeds=2)
    for held_out_rows in scored:
        np.testing.assert_array_equal(held_out_rows, np.isnan(fitted.scores_))
    assert len(scored) == 2
    assert 0 < scored[0].sum() < len(y)


def test_seeds_leave_the_influence_and_its_splits_as_they_are():
    model = make_pipeline(StandardScaler(), linear())
    fitted = SAMInfluence(model, random_state=0).fit(X, y)
    before, held_back = fitted.scores_.copy(), np.isnan(fitted.scores_)
    fitted.diagnose(X, y, n_seeds=2)
    np.testing.assert_array_equal(fitted.scores_, before)
    assert held_back.sum() == 8
    assert model.steps[-1][1].random_state is None
    assert fitted.diagnostics_.loc[0, "rank_stability"] < 1


@pytest.mark.slow
def test_seeds_of_a_stored_training_leave_its_folder_alone(tmp_path):
    stored = linear(batch_size=8, trajectory_dir=tmp_path / "run")
    fitted = influence(stored, "gif").fit(X, y)
    in_memory = influence(linear(batch_size=8), "gif").fit(X, y)
    for each in (fitted, in_memory):
        each.diagnose(X, y, n_seeds=1)
    found, expected = (each.diagnostics_.loc[0, "rank_stability"] for each in (fitted, in_memory))
    assert found == pytest.approx(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


WEIGHT = np.linspace(0.5, 1.5, 40)
OTHERS = {
    "other rows": ((X[::-1] * 3, y, WEIGHT), "recorded on other data: X differ"),
    "other weights": ((X, y, WEIGHT[::-1]), "recorded on other data: sample_weight differ"),
    "no weights": ((X, y, None), "recorded on other data: sample_weight differ"),
    "fewer rows": ((X[:-1], y, WEIGHT), "inconsistent numbers of samples"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("data", "message"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("steps", [False, True])
def test_other_data_than_those_of_fit_are_refused(data, message, steps):
    model = make_pipeline(StandardScaler(), linear()) if steps else linear()
    fitted = SAMInfluence(model, random_state=0).fit(X, y, sample_weight=WEIGHT)
    with pytest.raises(ValueError, match=message):
        fitted.diagnose(*data, n_seeds=1)
    fitted.diagnose(X.tolist(), y, WEIGHT.tolist(), n_seeds=1)


def test_what_is_missing_is_named():
    classifier = linear().fit(X, y)
    frozen = influence(FrozenEstimator(classifier), "gif").fit(X, y)
    with pytest.raises(ValueError, match="pass the rows of fit"):
        frozen.diagnose(n_seeds=1)
    with pytest.raises(ValueError, match="y is not that of fit"):
        frozen.diagnose(X, y[::-1], n_seeds=1)
    with pytest.raises(ValueError, match="FrozenEstimator or a net of from_module is never"):
        frozen.diagnose(X, y, n_seeds=1)
    with pytest.raises(ValueError, match="'smoothness' parameter"):
        frozen.diagnose(smoothness="rows")
    with pytest.raises(ValueError, match="'n_seeds' parameter"):
        frozen.diagnose(X, y, n_seeds=-1)
    with pytest.raises(ValueError, match="'check' parameter"):
        influence(linear(), Unrolled(check="all")).fit(X, y)
    with pytest.raises(ValueError, match="'n_left_out' parameter"):
        frozen.diagnose(n_left_out=-1)


def test_smoothness_needs_a_recorded_training():
    fitted = influence(linear(trajectory=None), "hif").fit(X, y)
    assert fitted.diagnose()["check"].tolist()[0] == "validation_skill"
    with pytest.raises(ValueError, match="trajectory"):
        fitted.diagnose(smoothness="prediction")
    with pytest.raises(ValueError, match="trajectory"):
        fitted.diagnose(n_left_out=5)
