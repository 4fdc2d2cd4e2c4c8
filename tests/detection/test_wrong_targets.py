"""Wrong targets of regressions: the mixture against what it was drawn from, and the detector."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sam_attribution import MislabelDetector, SAMNet, SAMRegressor, ValidationData
from sam_attribution.detection._probability_wrong import most_probable_f1
from sam_attribution.detection._target_judge import SplitPredictions, TargetJudge
from sam_attribution.detection._wrong_targets import WrongTargets
from sam_attribution.exceptions import AttributionWarning

N, NOISE = 1000, 0.05


def drawn(rate):
    """Predictions, and targets around them of which a share lies anywhere."""
    rng = np.random.default_rng(0)
    right = rng.uniform(0, 1, N)
    y, wrong = right + NOISE * rng.normal(size=N), rng.random(N) < rate
    y[wrong] = rng.uniform(y.min(), y.max(), wrong.sum())
    return right, y, wrong


def mixture_of(rate, **settings):
    prediction, y, wrong = drawn(rate)
    return WrongTargets(y - prediction, y, [np.arange(N)], **settings), prediction, y, wrong


@pytest.mark.parametrize("rate", [0, 0.02, 0.2])
def test_the_share_is_that_of_the_wrong_targets(rate):
    found, _, _, wrong = mixture_of(rate)
    low, high = found.interval
    assert found.share == pytest.approx(wrong.mean(), abs=0.015)
    assert low - 0.005 <= wrong.mean() <= high + 0.005


def test_probabilities_are_those_of_bayes():
    found, prediction, y, _ = mixture_of(0.1)
    right = 0.9 * norm.pdf(y - prediction, scale=NOISE)
    expected = 0.1 / np.ptp(y) / (0.1 / np.ptp(y) + right)
    assert abs(expit(-found.log_odds) - expected).mean() < 0.01
    sure = abs(y - prediction) > 6 * NOISE
    np.testing.assert_allclose(expit(-found.log_odds)[sure], expected[sure], atol=0.2)


def test_heavy_tails_are_not_wrong_targets():
    rng = np.random.default_rng(0)
    residuals = NOISE * rng.standard_t(4, size=N)
    assert WrongTargets(residuals, rng.uniform(size=N) + residuals, [np.arange(N)]).share < 0.005


def test_groups_have_spreads_of_their_own_and_the_rest_is_not_judged():
    _, prediction, y, _ = mixture_of(0.1)
    residuals = y - prediction
    residuals[: N // 2] /= 10
    one = WrongTargets(residuals, y, [np.arange(N // 2)])
    both = WrongTargets(residuals, y, [np.arange(N // 2), np.arange(N // 2, N - 10)])
    assert np.isnan(both.log_odds[-10:]).all()
    assert np.isnan(one.log_odds[N // 2 :]).all()
    np.testing.assert_allclose(both.log_odds[: N // 2], one.log_odds[: N // 2], atol=1)


def test_a_row_of_weight_zero_teaches_nothing():
    _, prediction, y, wrong = mixture_of(0.2)
    found = WrongTargets(y - prediction, y, [np.arange(N)], np.where(wrong, 0, 1))
    assert found.probabilities[:3].sum() > 0.95


def test_a_prediction_far_out_has_finite_log_odds():
    """A row whose features are huge is predicted far outside the range of the targets."""
    prediction, y, _ = drawn(0)
    prediction[7] = 1e8
    found = WrongTargets(y - prediction, y, [np.arange(N)])
    assert np.isfinite(found.log_odds).all()
    assert found.log_odds.argmin() == 7


def judged_by(predictions, y):
    split = SimpleNamespace(train=np.arange(0), held_out=np.arange(len(y)), y=y)
    found = SplitPredictions(None, split, np.zeros(0), predictions, 0.0)
    return TargetJudge([found], y, None)


def test_targets_of_which_most_are_zero_can_be_predicted():
    rng = np.random.default_rng(0)
    right = np.maximum(rng.normal(size=300), 0.5) - 0.5
    y = right + 0.01 * rng.normal(size=300) * (right > 0)
    wrong = np.arange(300) < 6
    y[wrong] += 2
    assert (y == 0).mean() > 0.6
    found = judged_by(right + 0.05 * rng.normal(size=300), y)
    assert found.has_skill
    assert set(found.scores.argsort()[:6]) == set(range(6))
    with pytest.warns(AttributionWarning, match="hardly better than its median"):
        assert not judged_by(np.full(300, y.mean()), y).has_skill


def regression(n=300):
    rng = np.random.default_rng(0)
    X = 5 + 3 * rng.normal(size=(n, 4))
    y = (X - 5) @ [0.3, -0.2, 0.1, 0.2] + 0.1 * rng.normal(size=n)
    wrong = np.arange(n) % 20 == 0
    y[wrong] += 3 * rng.choice([-1, 1], wrong.sum())
    return X, y, wrong


def model(**settings):
    settings = {"lr": 0.05, "max_epochs": 8, "random_state": 0} | settings
    return make_pipeline(StandardScaler(), SAMRegressor(**settings))


@pytest.fixture(scope="module")
def fitted():
    X, y, wrong = regression()
    table = pd.DataFrame(X, index=[f"row {number}" for number in range(len(X))])
    folds = KFold(5, shuffle=True, random_state=0)
    detector = MislabelDetector(model(), validation=folds, random_state=0)
    return detector.fit(table, y), table, y, wrong


@pytest.mark.slow
def test_wrong_targets_are_found_in_folds(fitted):
    detector, _, y, wrong = fitted
    assert detector.contamination_ == pytest.approx(wrong.mean(), abs=0.02)
    assert (detector.suspicious_ == wrong).mean() > 0.98
    assert detector.scores_[wrong].max() < np.percentile(detector.scores_[~wrong], 5)
    np.testing.assert_array_equal(detector.given_labels_, y)
    assert list(detector.issues_.index[:3]) == [
        f"row {number}" for number in np.argsort(detector.scores_)[:3]
    ]


@pytest.mark.slow
def test_suggestions_are_the_late_predictions_of_networks_that_never_saw_the_row(fitted):
    detector, table, _, _ = fitted
    splits = KFold(5, shuffle=True, random_state=0).split(table)
    for trained, (_, held_out) in zip(detector.estimators_, splits, strict=True):
        net = trained[-1]
        rows = net.to_tensors(trained[:-1].transform(table.to_numpy()[held_out]), None)[0]
        states = net.trajectory_.states
        late = [state for state in states if state.step >= states[-1].step / 2]
        found = [output(net, state, rows) for state in late]
        assert len(found) > 3
        np.testing.assert_allclose(detector.suggested_labels_[held_out], np.mean(found, 0), 1e-4)


def output(net, state, rows):
    module = deepcopy(net.module_)
    nn.utils.vector_to_parameters(state.params, module.parameters())
    with torch.no_grad():
        return module(rows)[:, 0].numpy()


@pytest.mark.slow
def test_the_page_shows_targets(fitted, tmp_path):
    detector, table, _, wrong = fitted
    text = detector.report(tmp_path / "page.html", table, n_rows=20).read_text()
    assert f'"row {np.flatnonzero(wrong)[0]}"' in text


def test_rows_that_were_trained_on_are_judged_with_validation_rows():
    X, y, wrong = regression()
    clean = ~wrong & (np.arange(len(y)) >= 200)
    own = ValidationData(X[clean], y[clean])
    found = MislabelDetector(model(), validation=own, random_state=0).fit(X[:200], y[:200])
    assert found.suspicious_[wrong[:200]].mean() > 0.8
    assert found.suspicious_[~wrong[:200]].mean() < 0.05


@pytest.mark.slow
def test_noise_with_heavy_tails_leaves_nothing_suspicious():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    y = (X @ [1, 2, 0] + 0.5 * rng.standard_t(3, size=60)).astype(np.float32)
    regressor = SAMRegressor(max_epochs=10, lr=0.03, random_state=0)
    found = MislabelDetector(regressor, validation=3, random_state=0).fit(X, y)
    assert most_probable_f1(found.probability_wrong_, found.scores_).any()
    assert not found.suspicious_.any()


def test_without_skill_nothing_is_suspicious():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.normal(size=200)
    y[:5] += 100
    with pytest.warns(AttributionWarning, match="hardly better than its median"):
        found = MislabelDetector(model(max_epochs=1, lr=1e-6), random_state=0).fit(X, y)
    assert not found.suspicious_.any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda y: y * 0, ValueError, "y must hold different targets, got -?0 in every row"),
        (lambda y: np.where(np.arange(len(y)) == 3, np.nan, y), ValueError, "y contains NaN"),
        (lambda y: np.c_[y, y], ValueError, "several outputs are not supported"),
    ],
)
def test_targets_that_cannot_be_judged_are_named(change, error, message):
    X, y, _ = regression(60)
    with pytest.raises(error, match=message):
        MislabelDetector(model(max_epochs=1)).fit(X, change(y))


def test_a_net_that_kept_no_state_is_refused():
    X, y, _ = regression(60)
    with pytest.raises(ValueError, match="needs recorded states of the training"):
        MislabelDetector(model(max_epochs=1, trajectory=None)).fit(X, y)


def test_a_net_with_targets_of_another_kind_is_refused():
    X, y, _ = regression(60)
    net = SAMNet(nn.Linear(4, 1), criterion=nn.MSELoss)
    with pytest.raises(ValueError, match="must be a classifier or a regressor, got a SAMNet"):
        MislabelDetector(net).fit(X.astype("float32"), y.astype("float32")[:, None])


def test_an_adopted_net_is_judged_by_its_final_weights():
    """As by residuals of that module alone: the rows of the largest come first."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).astype("float32")
    module = nn.Linear(3, 1)
    with torch.no_grad():
        predicted = module(torch.as_tensor(X)).numpy().ravel()
    y = (predicted + 0.05 * rng.normal(size=200)).astype("float32")
    y[:10] += rng.choice([-2, 2], 10)
    net = SAMRegressor.from_module(module, X[:150], y[:150])
    detector = MislabelDetector(net, validation=ValidationData(X[150:], y[150:]))
    detector.fit(X[:150], y[:150])
    worst = np.argsort(-abs(y - predicted)[:150])[:10]
    assert set(detector.scores_.argsort()[:10]) == set(worst) == set(range(10))
