"""The score and its signals against what they claim to be, and against each other."""

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


def expected_of(fitted, y, y_held, model, validation):
    """Signals at face value by name, and the ranking (1300, 10) of the noise model."""
    problem = problem_from_estimator(fitted, X, y)
    split = Split(np.arange(1300), X_HELD, y_held, np.arange(0))
    evidence = SplitEvidence(TrainedSplit(fitted, split, problem, 0.0))
    noise_model = evidence._by_em if model == "em" else evidence._as_given
    network = probabilities_of_network(fitted, problem)
    classes = noise_model.log_p.exp().double().numpy()
    product = network * classes
    if model == "em":
        classes = normalised(classes * noise_model.transition.numpy()[:, y].T)
    signals = {"network": network, "classes": classes}
    if validation == "trusted":
        signals["trusted"] = probabilities_of_trusted(problem, y_held)
        product = product * signals["trusted"]
    held_out = evidence._network[1] + noise_model.held_out_log_p
    at_face_value = np.vstack([np.log(normalised(product)), held_out.log_softmax(1)])
    noise = noise_of([evidence], 1300, None, validation == "trusted")
    return signals, noise.ranking(at_face_value)[:1300]


@pytest.mark.parametrize(
    ("noise", "held_out_noise", "decided"),
    [
        (0.3, 0, ["em", "trusted"]),
        (0.3, 0.3, ["em", "as noisy"]),
        (0, 0, ["as given", "as noisy"]),
    ],
    ids=["em, trusted", "em, as noisy", "as given"],
)
def test_the_score_is_the_ranking_by_the_noise_model_and_its_signals_stand_beside_it(
    noise, held_out_noise, decided
):
    y, _ = pair_noise(Y, noise, random_state=0)
    y_held, _ = pair_noise(Y_HELD, held_out_noise, random_state=10)
    fitted = SAMClassifier(max_epochs=15, batch_size=64, random_state=0).fit(X, y)
    own = ValidationData(X_HELD, y_held)
    detector = MislabelDetector(FrozenEstimator(fitted), validation=own).fit(X, y)
    assert detector.diagnostics_.loc[0, ["noise_model", "validation"]].tolist() == decided

    signals, ranking = expected_of(fitted, y, y_held, *decided)
    given = np.arange(1300), y
    assert list(detector.score_components_) == list(signals)
    for name, found in detector.score_components_.items():
        np.testing.assert_allclose(found, np.log(signals[name][given]), rtol=1e-3, atol=1e-4)

    expected = np.exp(ranking)
    sure = np.abs(detector.scores_) < 6  # beyond, the difference is rounding
    odds = expected[given][sure] / (1 - expected[given][sure])
    np.testing.assert_allclose(detector.scores_[sure], np.log(odds), rtol=1e-2, atol=1e-2)
    found, others = np.exp(detector.label_log_proba_), expected.copy()
    found[given] = others[given] = 0
    others *= (detector.probability_wrong_ / others.sum(1))[:, None]
    np.testing.assert_allclose(found, others, rtol=1e-3, atol=1e-5)


def test_the_score_ranks_better_than_each_signal():
    """Scattered errors, and a wide network that memorises some of them while it learns.

    Gains in AUC over the better signal are small, -0.001 to 0.006 for the draws 0 to 7.
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
        signals = detector.score_components_[["network", "classes"]].to_numpy().T
        best_signal = max(roc_auc_score(wrong, -signal) for signal in signals)
        gains.append(roc_auc_score(wrong, -detector.scores_) - best_signal)
    assert min(gains) > 0.001
    assert np.mean(gains) > 0.003


def test_signals_that_are_too_sure_of_themselves_do_not_lead_the_score():
    """Many features beside few rows: class models and network overfit, the held-out rows tell."""
    rows, truth = make_classification(
        1000, 200, n_informative=20, n_redundant=0, n_classes=4, class_sep=1.5, random_state=0
    )
    rows = StandardScaler().fit_transform(rows).astype("float32")
    y, wrong = symmetric_noise(truth, 0.2, random_state=0)
    network = SAMClassifier(lr=0.1, max_epochs=20, batch_size=64, random_state=0)
    detector = MislabelDetector(network, random_state=0).fit(rows, y)
    signals = detector.score_components_
    rankings = [signals["network"], signals["classes"], signals.sum(axis=1)]
    best = max(roc_auc_score(wrong, -ranking) for ranking in rankings)
    assert roc_auc_score(wrong, -detector.scores_) > best + 0.04
