"""The score against the products that it claims to be, and against its factors alone."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import MislabelDetector, SAMClassifier, ValidationData
from sam_attribution.datasets import pair_noise, symmetric_noise
from sam_attribution.detection._class_model import ClassModel, stratified_folds
from sam_attribution.detection._noise_model import fit_as_given
from sam_attribution.detection._snapshots import snapshot, snapshot_states
from sam_attribution.detection._split_evidence import SplitEvidence
from sam_attribution.detection._untouched_scores import noise_of
from sam_attribution.fitting import Split, TrainedSplit
from sam_attribution.problem import problem_from_estimator

pytestmark = pytest.mark.slow

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
X_HELD, Y_HELD = X[1300:], Y[1300:]
X, Y = X[:1300], Y[:1300]


def probabilities_of_network(fitted, problem):
    """Mean of the softmax over the states, by copies of the module that hold their weights."""
    found = []
    for state in snapshot_states(problem.path):
        twin = copy.deepcopy(fitted.module_).eval()
        torch.nn.utils.vector_to_parameters(state.params, twin.parameters())
        with torch.no_grad():
            found.append(twin(problem.X).double().softmax(1).numpy())
    return np.mean(found, axis=0)


def probabilities_of_trusted(problem, y_held):
    """Probabilities of the rows trained on, by the classes of the held-out rows."""
    y = torch.as_tensor(y_held)
    rows = torch.as_tensor(X_HELD), torch.as_tensor(X)
    states = snapshot_states(problem.path)
    features = [[snapshot(problem, state, x).features for x in rows] for state in states]
    class_model = ClassModel(stratified_folds(y), torch.ones(len(y)), features)
    return fit_as_given(class_model, y, torch.ones(len(y)), 10).held_out_log_p.exp().numpy()


def normalised(found):
    return found / found.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("noise", "held_out_noise", "decided"),
    [
        (0.3, 0, ["em", "trusted"]),
        (0.3, 0.3, ["em", "as noisy"]),
        (0, 0, ["as given", "as noisy"]),
    ],
    ids=["em, trusted", "em, as noisy", "as given"],
)
def test_the_score_is_the_mean_of_two_posteriors(noise, held_out_noise, decided):
    y, _ = pair_noise(Y, noise, random_state=0)
    y_held, _ = pair_noise(Y_HELD, held_out_noise, random_state=10)
    fitted = SAMClassifier(max_epochs=15, batch_size=64, random_state=0).fit(X, y)
    own = ValidationData(X_HELD, y_held)
    detector = MislabelDetector(FrozenEstimator(fitted), validation=own).fit(X, y)
    assert detector.diagnostics_.loc[0, ["noise_model", "validation"]].tolist() == decided

    problem = problem_from_estimator(fitted, X, y)
    split = Split(np.arange(1300), X_HELD, y_held, np.arange(0))
    evidence = SplitEvidence(TrainedSplit(fitted, split, problem, 0.0))
    noise_model = evidence._by_em if decided[0] == "em" else evidence._as_given
    factors = [probabilities_of_network(fitted, problem), noise_model.log_p.exp().numpy()]
    if decided[0] == "em":
        factors.append(noise_model.transition.numpy()[:, y].T)
    if decided[1] == "trusted":
        factors.append(probabilities_of_trusted(problem, y_held))

    noise = noise_of([evidence], 1300, None, decided[1] == "trusted")
    calibrated = np.exp(noise.ranking()[:1300])

    def posterior(factors):
        product = normalised(np.prod(np.float64(factors), axis=0))
        return normalised(np.sqrt(product * calibrated))

    expected, own = posterior(factors), (np.arange(1300), y)
    found, others = np.exp(detector.label_log_proba_), expected.copy()
    found[own] = others[own] = 0
    others *= (detector.probability_wrong_ / others.sum(1))[:, None]
    np.testing.assert_allclose(found, others, rtol=1e-3, atol=1e-5)
    sure = np.abs(detector.scores_) < 6  # beyond, the difference is rounding
    odds = expected[own][sure] / (1 - expected[own][sure])
    np.testing.assert_allclose(detector.scores_[sure], np.log(odds), rtol=1e-2, atol=1e-2)
    for k in range(len(factors)):
        assert np.abs(posterior(factors[:k] + factors[k + 1 :]) - expected).max() > 0.05
    assert np.abs(calibrated - expected).max() > 0.05


def test_the_product_ranks_better_than_each_of_its_factors():
    """Scattered errors, and a wide network that memorises some of them while it learns.

    Gains in AUC over the better factor are small, 0.003 to 0.007 for the draws 0 to 7.
    """
    rows, truth = make_classification(
        1200, 20, n_informative=8, n_redundant=4, n_classes=4, class_sep=1.5, random_state=1
    )
    gains = []
    for seed in range(2):
        y, wrong = symmetric_noise(truth, 0.2, random_state=seed)
        network = SAMClassifier(
            module__n_hidden=512, lr=0.3, max_epochs=30, batch_size=64, random_state=seed
        )
        model = make_pipeline(StandardScaler(), network)
        detector = MislabelDetector(model, random_state=seed).fit(rows, y)
        factors = detector.score_components_[["network", "classes"]].to_numpy().T
        best_factor = max(roc_auc_score(wrong, -factor) for factor in factors)
        gains.append(roc_auc_score(wrong, -detector.scores_) - best_factor)
    assert min(gains) > 0.001
    assert np.mean(gains) > 0.003
