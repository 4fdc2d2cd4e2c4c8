"""Rows that were not in fit: scores and probabilities against the core's, and against the truth."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sam_attribution import MislabelDetector, SAMClassifier, SAMRegressor, ValidationData
from sam_attribution.datasets import pair_noise, symmetric_noise
from sam_attribution.detection import _new_rows
from sam_attribution.detection._class_model import ClassModel, stratified_folds
from sam_attribution.detection._new_rows import NewRows
from sam_attribution.detection._split_evidence import SplitEvidence
from sam_attribution.detection._untouched_scores import noise_of
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.fitting import ClassTargets, train_split
from sam_attribution.fitting._splits import make_splits
from sam_attribution.training import Checkpoint

CENTRES = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.5, 0.0]])
PRIOR = np.array([0.5, 0.3, 0.2])


def gaussians(n, seed):
    """Rows, their true classes, and the true probabilities of the classes."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=PRIOR)
    X = (rng.normal(size=(n, 3)) + CENTRES[truth]).astype("float32")
    logits = np.log(PRIOR) + X @ CENTRES.T - (CENTRES**2).sum(1) / 2
    return X, truth, softmax(logits, axis=1)


X, TRUTH, _ = gaussians(2000, seed=2)
Y, _ = symmetric_noise(TRUTH, 0.2, random_state=2)
X_NEW, TRUTH_NEW, P_NEW = gaussians(600, seed=1)
Y_NEW, WRONG_NEW = symmetric_noise(TRUTH_NEW, 0.2, random_state=1)
NET = SAMClassifier(module__n_hidden=8, max_epochs=4, lr=0.1, batch_size=64, random_state=0)


@pytest.fixture(scope="module")
def detector():
    return MislabelDetector(NET, random_state=0).fit(X, Y)


def test_probabilities_of_the_true_class_of_gaussians(detector):
    found = detector.predict_label_proba(X_NEW)
    np.testing.assert_allclose(found.sum(1), 1)
    assert np.abs(found - P_NEW).mean() < 0.04
    transition = np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    log_p = log_softmax(np.log(P_NEW) + np.log(transition[:, Y_NEW].T), axis=1)
    given = np.arange(600), Y_NEW
    others = log_p.copy()
    others[given] = -np.inf
    expected = log_p[given] - logsumexp(others, axis=1)
    scores = detector.score_samples(X_NEW, Y_NEW)
    p_right, p_expected = (1 / (1 + np.exp(-each)) for each in (scores, expected))
    assert np.abs(p_right - p_expected).mean() < 0.04
    assert (1 - p_right).mean() == pytest.approx(0.2, abs=0.03)
    ranked = [roc_auc_score(WRONG_NEW, -each) for each in (scores, expected)]
    assert ranked[0] > ranked[1] - 0.015


def evidence_of(validation, X, y, seed=0):
    """What fit collects, and the rows that it held out."""
    targets = ClassTargets()
    targets.learn(y, validation)
    splits = make_splits(validation, X, y, targets, seed)
    trained = [train_split(clone(NET), split, X, y, differentiated=False) for split in splits]
    return [SplitEvidence(each) for each in trained], splits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "trust"),
    [(False, False), (True, False), (True, True)],
    ids=["fraction", "as noisy", "trusted"],
)
def test_rows_that_fit_held_out_get_what_the_core_says_of_them(own, trust):
    validation = ValidationData(X_NEW[:200], (TRUTH_NEW if trust else Y_NEW)[:200]) if own else 0.2
    evidence, (split,) = evidence_of(validation, X, Y)
    noise = noise_of(evidence, len(Y), None, trust)
    memberships, calibration, _ = noise.of_other_rows()
    core = noise._scores.unseen(memberships)
    network = evidence[0].judging_network(memberships, len(Y))
    new = NewRows(evidence, noise, len(Y))
    estimators = [each.trained.estimator for each in evidence]
    early, own_scores = network.scores(
        _new_rows.network_of(estimators[0], *args(split)), *args(split)
    )
    order = np.argsort(core.rows) if own else np.argsort(np.argsort(split.held_out))
    rows = [each[order] for each in core.scores]
    for found, expected in zip(own_scores, rows[-2:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    for found, expected in zip(early, rows, strict=False):
        # here the classes know the rows themselves, there they are cross-fitted
        assert np.abs(found - expected).mean() < 0.05
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.998
    found = new.log_probabilities(estimators, split.X)
    expected = calibration.log_probabilities(rows)
    assert np.abs(np.exp(found) - np.exp(expected)).max() < 0.05


def args(split):
    return (torch.tensor(split.X),)


@pytest.mark.parametrize("n_features", [7, 300])
def test_linear_scores_are_those_of_held_out_rows(n_features):
    rng = np.random.default_rng(0)
    features, others = (torch.as_tensor(rng.normal(3, 2, (n, n_features))) for n in (400, 50))
    features[:, 1] = 4.0
    y = torch.as_tensor(rng.integers(0, 3, 400))
    model = ClassModel(stratified_folds(y), torch.ones(400).double(), [(features, others)])
    memberships = torch.as_tensor(rng.dirichlet(np.ones(3), 400))
    (linear,) = model.linear_scores(memberships)
    expected = model.held_out_scores(memberships)[0]
    torch.testing.assert_close(linear(others), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(linear(others[:1]), expected[:1], rtol=1e-9, atol=1e-9)


def test_without_labels_the_score_says_how_sure_the_best_label_is(detector):
    p = detector.predict_label_proba(X_NEW).max(1)
    np.testing.assert_allclose(detector.score_samples(X_NEW), np.log(p / (1 - p)), rtol=1e-6)


def test_company_does_not_matter(detector, monkeypatch):
    expected = detector.score_samples(X_NEW, Y_NEW)
    alone = [detector.score_samples(X_NEW[[i]], Y_NEW[[i]])[0] for i in range(5)]
    np.testing.assert_allclose(alone, expected[:5], rtol=1e-4)
    zeros = Y_NEW == 0
    of_one_class = detector.score_samples(X_NEW[zeros], Y_NEW[zeros])
    np.testing.assert_allclose(of_one_class, expected[zeros], rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(_new_rows, "_ROWS_AT_A_TIME", 70)
    np.testing.assert_allclose(detector.score_samples(X_NEW, Y_NEW), expected, rtol=1e-4, atol=1e-5)


def test_pickling_keeps_what_is_needed_and_no_row(detector):
    twin = pickle.loads(pickle.dumps(detector))
    expected = detector.score_samples(X_NEW, Y_NEW)
    np.testing.assert_array_equal(twin.score_samples(X_NEW, Y_NEW), expected)
    vars(twin).pop("_new_rows")
    size = len(pickle.dumps(detector)) - len(pickle.dumps(twin))
    assert size < X.nbytes


@pytest.mark.slow
def test_several_networks_are_averaged(detector):
    folds = MislabelDetector(NET, validation=2, random_state=0).fit(X, Y)
    new, networks = folds._new_rows, folds._new_rows._networks
    both = new.log_probabilities(folds.estimators_, X_NEW)
    early, later = zip(
        *(
            network.scores(
                _new_rows.network_of(each, torch.as_tensor(X_NEW)), torch.as_tensor(X_NEW)
            )
            for each, network in zip(folds.estimators_, networks, strict=True)
        ),
        strict=True,
    )
    shared = [(one + other) / 2 for one, other in zip(*early, strict=True)]
    each = [np.exp(new._calibration.log_probabilities([*shared, *own])) for own in later]
    np.testing.assert_allclose(np.exp(both), np.mean(each, axis=0), rtol=1e-5)
    assert np.abs(folds.predict_label_proba(X_NEW) - P_NEW).mean() < 0.04


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "share"), [(symmetric_noise, 0.2), (pair_noise, 0.3)], ids=["symmetric", "pair"]
)
@pytest.mark.parametrize("validation", [0.2, "checked"], ids=str)
def test_fresh_rows_are_ranked_as_well_as_those_of_fit(noise, share, validation):
    rows, truth = load_digits(return_X_y=True)
    rows = (rows / 16).astype("float32")
    y, wrong = noise(truth, share, random_state=0)
    fitted, fresh, checked = np.split(np.random.default_rng(0).permutation(len(y)), [1100, 1400])
    if validation == "checked":
        validation = ValidationData(rows[checked], truth[checked])
    net = SAMClassifier(max_epochs=15, batch_size=64, random_state=0)
    detector = MislabelDetector(net, validation=validation, random_state=0)
    detector.fit(rows[fitted], y[fitted])
    scores = detector.score_samples(rows[fresh], y[fresh])
    in_fit = roc_auc_score(wrong[fitted], -detector.scores_)
    assert roc_auc_score(wrong[fresh], -scores) > in_fit - 0.005
    p_wrong = 1 / (1 + np.exp(scores))
    assert p_wrong.mean() == pytest.approx(wrong[fresh].mean(), abs=0.03)
    found = detector.predict_label_proba(rows[fresh]).argmax(1)
    assert (found == truth[fresh]).mean() > (
        detector.estimator_.predict(rows[fresh]) == truth[fresh]
    ).mean()


@pytest.mark.slow
def test_frames_words_and_pipelines():
    names = np.array(["cat", "dog", "emu"])
    frame = pd.DataFrame(X, columns=list("abc"))
    words = MislabelDetector(make_pipeline(StandardScaler(), NET), random_state=0)
    words.fit(frame, names[Y])
    new = pd.DataFrame(X_NEW, columns=list("abc"), index=[f"row {i}" for i in range(600)])
    scores = words.score_samples(new, pd.Series(names[Y_NEW], new.index))
    assert roc_auc_score(WRONG_NEW, -scores) > 0.8
    with pytest.raises(ValueError, match="feature names should match"):
        words.predict_label_proba(new[["b", "a", "c"]])
    with pytest.raises(ValueError, match="X and y have the same index in another order"):
        words.score_samples(new, pd.Series(names[Y_NEW], new.index)[::-1])


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, first, rest):
        return self.layers(torch.cat([first, rest], 1))


def parts(X):
    return {"first": X[:, :1], "rest": X[:, 1:]}


class Rows(torch.utils.data.Dataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.X[row], int(self.y[row])


@pytest.mark.slow
def test_dicts_of_arrays_and_one_logit():
    settings = {"criterion": nn.BCEWithLogitsLoss, "max_epochs": 4, "random_state": 0}
    net = SAMClassifier(Pair, lr=0.1, batch_size=64, **settings)
    fitted = MislabelDetector(net, random_state=0).fit(parts(X), (Y == 0).astype(int))
    y = (Y_NEW == 0).astype(int)
    scores = fitted.score_samples(parts(X_NEW), y)
    few = fitted.score_samples(parts(X_NEW[:3]), y[:3])
    np.testing.assert_allclose(few, scores[:3], rtol=1e-4)
    assert roc_auc_score((TRUTH_NEW == 0) != y, -scores) > 0.75


def test_datasets_have_labels_of_their_own(detector):
    rows = Rows(X_NEW, Y_NEW)
    found = detector.score_samples(rows)
    expected = detector.score_samples(X_NEW, Y_NEW)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        detector.predict_label_proba(rows),
        detector.predict_label_proba(X_NEW),
        rtol=1e-3,
        atol=1e-6,
    )


def test_checkpoints_of_a_training_elsewhere():
    module = nn.Linear(3, 3)
    with torch.no_grad():
        module.weight.copy_(torch.as_tensor(CENTRES))
    last = Checkpoint({name: w.clone() for name, w in module.state_dict().items()}, rate=1)
    net = SAMClassifier.from_module(module, X, Y, checkpoints=[last])
    own = ValidationData(X_NEW[:200], Y_NEW[:200])
    with pytest.warns(AttributionWarning, match="because no weights from before training"):
        fitted = MislabelDetector(net, validation=own).fit(X, Y)
    assert np.abs(fitted.predict_label_proba(X_NEW[200:]) - P_NEW[200:]).mean() < 0.05


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (X_NEW[:2], [0, 5], r"y holds labels that were not in fit: \[5\]"),
        (X_NEW[:2], ["cat", "dog"], "y holds labels that were not in fit"),
        (X_NEW[:2], [0], "inconsistent numbers of samples"),
        (X_NEW[:2, :2], [0, 1], "X has 2 features, but MislabelDetector is expecting 3"),
        (X_NEW[:0], [], "0 sample"),
        (np.full((1, 3), np.nan), [0], "NaN"),
        (Rows(np.full((1, 3), np.nan, "float32"), [0]), None, "no finite numbers, such as row 0"),
    ],
)
def test_rows_that_cannot_be_judged(detector, X, y, message):
    with pytest.raises(ValueError, match=message):
        detector.score_samples(X, y)


def test_regressors_have_no_labels():
    for name in ("score_samples", "predict_label_proba"):
        with pytest.raises(AttributeError, match=name):
            getattr(MislabelDetector(SAMRegressor()), name)


def test_before_fit():
    with pytest.raises(NotFittedError):
        MislabelDetector().score_samples(X_NEW, Y_NEW)
    with pytest.raises(NotFittedError):
        MislabelDetector().predict_label_proba(X_NEW)
