"""Removal curves by repeating the end of one training, against plain torch."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler

from sam_attribution.perturbation import PNorm
from sam_attribution.plotting import RemovalCurveDisplay
from sam_attribution.plotting._removal_curve_data import ScoreAfterReplay
from sam_attribution.training import SAMClassifier, SAMRegressor
from tests.methods.test_unrolled import X, X_val, network, y, y_val
from tests.retrained import Run

SCORES = np.random.default_rng(0).normal(size=36)
NET = SAMClassifier(
    network(), rho=0.1, lr=0.1, max_epochs=5, batch_size=10, dtype="float64", random_state=0,
    optimizer__momentum=0.9,
)  # fmt: skip
CURVE = {"X_test": X_val, "y_test": y_val, "scores": SCORES, "fractions": [0, 0.25, 0.5]}


@pytest.mark.slow
def test_one_training_is_repeated_for_every_removal():
    display = RemovalCurveDisplay.from_estimator(
        NET, X, y, refit="replay", share=1.0, n_random=0, **CURVE
    )
    run = Run(
        network(), torch.tensor(X), torch.tensor(y), NET.fit(X, y).trajectory_,
        lambda w, g: PNorm(2).eps(w, g, 0.1), torch.optim.SGD, {"momentum": 0.9},
    )  # fmt: skip
    expected = []
    for fraction in CURVE["fractions"]:
        weights = torch.ones(36, dtype=torch.float64)
        weights[torch.tensor(np.argsort(SCORES)[: round(fraction * 36)])] = 0
        predicted = run.trained(weights)(torch.tensor(X_val)).argmax(1)
        expected.append(float((predicted.numpy() == y_val).mean()))
    np.testing.assert_allclose(display.lines_[0].get_ydata(), expected)
    assert len(set(expected)) > 1


def test_a_pipeline_is_replayed_in_any_process():
    pipeline = make_pipeline(StandardScaler(), NET)
    score = ScoreAfterReplay(pipeline, X, y, X_val, y_val, 0, share=0.3)
    kept = SCORES > -0.2
    assert pickle.loads(pickle.dumps(score))(kept) == score(kept)
    whole = ScoreAfterReplay(pipeline, X, y, X_val, y_val, 0, share=1.0)
    assert whole(kept | True) == pipeline.fit(X, y).score(X_val, y_val)


def test_a_curve_that_diverges_names_the_way_out(monkeypatch):
    monkeypatch.setattr("sam_attribution.editing._falling_rates._USUAL", 1e30)
    rows = X.astype("float32")
    rate = ("rate", LRScheduler("StepLR", step_size=5, gamma=0.01))
    net = SAMRegressor(torch.nn.Linear(X.shape[1], 1), callbacks=[rate], random_state=0)
    score = ScoreAfterReplay(net, rows, rows[:, 0], rows, rows[:, 0], 0, share=0.5)
    with pytest.raises(ValueError, match=r'is (nan|inf) at .* pass refit="retrain"\.$') as caught:
        score(np.ones(36, dtype=bool))
    assert "lr_factor" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": GaussianNB(), "refit": "replay"}, "estimator must be a SAMClassifier"),
        ({"estimator": NET, "refit": "again"}, "The 'refit' parameter of from_estima"),
        ({"estimator": NET, "refit": "replay", "share": 0}, "The 'share' parameter of from_estim"),
    ],
)
def test_what_cannot_be_replayed_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        RemovalCurveDisplay.from_estimator(X=X, y=y, **CURVE, **settings)
