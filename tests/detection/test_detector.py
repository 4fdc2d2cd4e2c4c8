"""MislabelDetector on digits with labels that were changed on purpose, and what it refuses."""

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sam_attribution import (
    MislabelDetector,
    SAMClassifier,
    ValidationData,
)
from sam_attribution.datasets import pair_noise, symmetric_noise
from sam_attribution.detection._snapshots import initial_features, snapshot, snapshot_states
from sam_attribution.detection._split_evidence import SplitEvidence
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.fitting import Split, TrainedSplit
from sam_attribution.problem import problem_from_estimator
from sam_attribution.review import review_page

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
X_HELD, Y_HELD = X[1300:], Y[1300:]
X, Y = X[:1300], Y[:1300]
CLEAN = ValidationData(X_HELD, Y_HELD)


def classifier(**settings):
    return SAMClassifier(**{"max_epochs": 15, "batch_size": 64, "random_state": 0} | settings)


def trained_split(fitted, y, X=X):
    """`fitted` on the rows and labels `y`, with the clean rows held out."""
    split = Split(np.arange(len(y)), X_HELD, Y_HELD, np.arange(0))
    return TrainedSplit(fitted, split, problem_from_estimator(fitted, X, y), 0.0)


def auc(wrong, detector):
    return roc_auc_score(wrong, -detector.scores_)


@cache
def trained_on(noise, fraction, seed=0):
    """Labels with noise, which of them are wrong, and a classifier trained on them."""
    y, wrong = noise(Y, fraction, random_state=seed)
    return y, wrong, FrozenEstimator(classifier(random_state=seed).fit(X, y))


@pytest.fixture(scope="module")
def tenth():
    """Labels of which a tenth is wrong, and a detector that holds out rows of its own."""
    y, wrong = symmetric_noise(Y, 0.1, random_state=0)
    return y, wrong, MislabelDetector(classifier(), random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def pairs():
    y, wrong = pair_noise(Y, 0.3, random_state=0)
    return y, wrong, MislabelDetector(classifier(), validation=CLEAN, random_state=0).fit(X, y)


@pytest.mark.slow
def test_systematic_confusion_is_found_counted_and_undone(pairs):
    _, wrong, detector = pairs
    assert auc(wrong, detector) > 0.99
    # the network alone, as small-loss ranking does
    assert roc_auc_score(wrong, -detector.score_components_["network"]) < 0.95
    assert detector.diagnostics_[["noise_model", "validation"]].iloc[0].tolist() == [
        "em",
        "trusted",
    ]
    assert detector.contamination_ == pytest.approx(0.3, rel=0.15)
    assert (detector.suggested_labels_[wrong] == Y[wrong]).mean() > 0.95
    assert (detector.suggested_labels_ == Y).mean() > 0.95
    true_to_next = detector.transition_[np.arange(10), (np.arange(10) + 1) % 10]
    assert np.abs(true_to_next - 0.3).max() < 0.12


def test_attributes_agree_with_each_other(pairs):
    y, _, detector = pairs
    p, rows = np.exp(detector.label_log_proba_), np.arange(len(y))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(1 - p[rows, y], detector.probability_wrong_, rtol=1e-6, atol=1e-9)
    falling = np.argsort(detector.scores_)
    assert (np.diff(detector.probability_wrong_[falling]) <= 0).all()
    assert detector.contamination_ == pytest.approx(detector.probability_wrong_.mean())
    least, most = detector.contamination_interval_
    assert least <= detector.contamination_ <= most
    assert (detector.suggested_labels_ == detector.classes_[p.argmax(1)]).all()
    relabelled = detector.suggested_labels_ != y
    assert detector.suspicious_[relabelled].all()
    assert (detector.probability_wrong_[relabelled] > 0.5).all()
    assert (
        detector.scores_[detector.suspicious_].max()
        <= detector.scores_[~detector.suspicious_].min()
    )
    np.testing.assert_allclose(detector.transition_.sum(1), 1, rtol=1e-5)
    assert (detector.given_labels_ == y).all()


@pytest.mark.slow
def test_the_review_page_takes_what_was_found(pairs, tmp_path):
    y, _, detector = pairs
    shown = {
        "class_names": list("abcdefghij"),
        "descriptions": [f"digit {row}" for row in range(1300)],
        "image_shape": (8, 8),
        "n_rows": 50,
        "title": "Digits",
    }
    page = detector.report(tmp_path / "page.html", X, **shown)
    found = ("scores", "suspicious", "probability_wrong", "score_components", "classes")
    learned = {name: getattr(detector, f"{name}_") for name in found}
    learned["label_scores"] = detector.label_log_proba_
    words = {"network": "model's guess", "classes": "similar rows", "trusted": "checked rows"}
    learned["score_components"] = detector.score_components_.rename(columns=words)
    suggested = detector.suggested_labels_.copy()
    for row in np.flatnonzero(detector.suspicious_ & (suggested == y)):
        best, second = np.argsort(-detector.label_log_proba_[row])[:2]
        suggested[row] = detector.classes_[second if detector.classes_[best] == y[row] else best]
    expected = review_page(
        tmp_path / "expected.html", X, given=y, suggested=suggested, **learned, **shown
    )
    assert page.read_bytes() == expected.read_bytes()
    with pytest.raises(ValueError, match=r"X must show the 1300 rows that were judged.*got 5 rows"):
        detector.report(tmp_path / "page.html", X[:5])


@pytest.mark.slow
@pytest.mark.parametrize("validation", [0.2, StratifiedKFold(3)], ids=["fraction", "folds"])
def test_every_row_is_judged_without_a_trusted_set(validation):
    y, wrong = pair_noise(Y, 0.3, random_state=1)
    detector = MislabelDetector(classifier(), validation=validation, random_state=0).fit(X, y)
    assert np.isfinite(detector.scores_).all()
    assert auc(wrong, detector) > 0.98
    np.testing.assert_allclose(np.exp(detector.label_log_proba_).sum(1), 1, rtol=1e-6)
    assert set(detector.diagnostics_["validation"]) == {"as noisy"}
    assert (
        len(detector.estimators_) == len(detector.diagnostics_) == (1 if validation == 0.2 else 3)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "noise", "trusted"), [(0, 0, True), (1, 0, True), (0, 0.3, False), (1, 0.3, False)]
)
def test_validation_labels_are_trusted_if_they_are_right(seed, noise, trusted):
    y, wrong, frozen = trained_on(pair_noise, 0.3, seed)
    own = ValidationData(X_HELD, pair_noise(Y_HELD, noise, random_state=10 + seed)[0])
    detector = MislabelDetector(frozen, validation=own).fit(X, y)
    assert detector.diagnostics_["validation"].item() == ("trusted" if trusted else "as noisy")
    assert (detector.diagnostics_["agreement"].item() > 2.58) == trusted
    assert (
        detector.score_components_.columns.tolist()
        == ["network", "classes", "trusted"][: 2 + trusted]
    )
    assert auc(wrong, detector) > 0.98


@pytest.mark.slow
def test_labels_that_fit_better_before_training_are_trusted():
    """The classes are alike by either labels, so likelihoods of the noise models do not tell."""
    y, wrong, frozen = trained_on(symmetric_noise, 0.4)
    detector = MislabelDetector(frozen, validation=CLEAN).fit(X, y)
    assert detector.diagnostics_["validation"].item() == "trusted"
    assert detector.diagnostics_["agreement"].item() > 5
    assert auc(wrong, detector) > 0.98


@pytest.mark.slow
def test_rows_that_come_in_turns():
    """Every second row is of one class: samples of the rows must hold the other, too."""
    rng = np.random.default_rng(0)
    truth, own = np.arange(6000) % 2, rng.integers(0, 2, 300)
    rows, own_rows = (rng.normal(size=(len(t), 4)) + 1.5 * t[:, None] for t in (truth, own))
    y, _ = symmetric_noise(truth, 0.3, random_state=0)
    detector = MislabelDetector(
        classifier(max_epochs=1), validation=ValidationData(own_rows, own)
    ).fit(rows, y)
    shuffled = rng.permutation(6000)
    other = MislabelDetector(
        classifier(max_epochs=1), validation=ValidationData(own_rows, own)
    ).fit(rows[shuffled], y[shuffled])
    agreements = [each.diagnostics_["agreement"].item() for each in (detector, other)]
    assert min(agreements) > 5
    assert agreements[0] == pytest.approx(agreements[1], rel=0.2)


@pytest.mark.slow
def test_trusted_rows_correct_a_class_of_which_most_is_wrong():
    """Most of a class is called another: by the labels alone that is what it is called."""
    y = Y.copy()
    threes = np.flatnonzero(Y == 3)
    y[threes[np.arange(len(threes)) % 20 > 0]] = 9
    wrong = y != Y
    settings = {"estimator": classifier(), "random_state": 0}
    trusted = MislabelDetector(validation=CLEAN, **settings).fit(X, y)
    alone = MislabelDetector(validation=0.2, **settings).fit(X, y)
    assert auc(wrong, trusted) > 0.85
    assert auc(wrong, trusted) > auc(wrong, alone) + 0.1


@pytest.mark.slow
def test_trusted_rows_do_not_change_a_class_that_they_lack():
    y, wrong, frozen = trained_on(symmetric_noise, 0.4)
    some = Y_HELD > 4
    own = ValidationData(X_HELD[some], Y_HELD[some])
    detector = MislabelDetector(frozen, validation=own).fit(X, y)
    assert detector.score_components_.columns.tolist() == ["network", "classes", "trusted"]
    assert auc(wrong, detector) > 0.99
    lacking = (Y <= 4) & ~wrong
    assert detector.suspicious_[lacking].mean() < 0.05
    assert (detector.suggested_labels_[lacking] == Y[lacking]).mean() > 0.9


@pytest.mark.slow
def test_symmetric_noise_is_counted(tenth):
    _, wrong, detector = tenth
    assert auc(wrong, detector) > 0.99
    assert detector.contamination_ == pytest.approx(0.1, rel=0.25)
    assert detector.suspicious_.sum() == pytest.approx(130, rel=0.2)


def test_fit_predict_marks_the_suspicious_rows():
    y, _ = symmetric_noise(Y[:300], 0.1, random_state=0)
    detector = MislabelDetector(classifier(), contamination=0.1, random_state=0)
    found = detector.fit_predict(X[:300], y)
    assert set(np.unique(found)) == {-1, 1}
    np.testing.assert_array_equal(found == -1, detector.suspicious_)


@pytest.mark.slow
def test_clean_labels_are_left_alone():
    detector = MislabelDetector(classifier(), validation=CLEAN).fit(X, Y)
    assert detector.contamination_ < 0.03


def test_frames_strings_and_unequal_classes():
    names = np.array(["zero", "one", "two", "<three>"], dtype=object)
    rows = np.flatnonzero((Y < 3) | ((Y == 3) & (np.arange(1300) % 4 == 0)))
    truth = names[Y[rows]]
    y, wrong = symmetric_noise(truth, 0.1, random_state=0)
    frame = pd.DataFrame(X[rows], index=[f"row {i}" for i in rows]).add_prefix("pixel ")
    model = make_pipeline(StandardScaler(), classifier())
    detector = MislabelDetector(model, random_state=0).fit(frame, pd.Series(y, index=frame.index))
    assert auc(wrong, detector) > 0.97
    assert detector.classes_.tolist() == sorted(names)
    assert detector.score_components_.index.equals(frame.index)
    assert detector.score_components_.columns.tolist() == ["network", "classes"]
    assert detector.feature_names_in_.tolist() == frame.columns.tolist()
    assert (detector.suggested_labels_[wrong] == truth[wrong]).mean() > 0.8


@pytest.mark.slow
def test_a_frozen_classifier_is_used_as_it_is(pairs):
    y, _, detector = pairs
    *_, frozen = trained_on(pair_noise, 0.3)
    again = MislabelDetector(frozen, validation=CLEAN).fit(X, y)
    np.testing.assert_array_equal(again.scores_, detector.scores_)
    weights = frozen.module_.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in again.estimator_.module_.state_dict().items())


class NoHead(nn.Module):
    """Ends in a mean over positions, not in a linear layer."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 10, 3), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, X):
        return self.layers(X)[..., 0, 0]


@pytest.mark.slow
def test_images_and_a_network_without_a_last_linear_layer():
    y, wrong = symmetric_noise(Y, 0.2, random_state=0)
    model = classifier(module=NoHead, lr=0.3, max_epochs=12)
    detector = MislabelDetector(model, random_state=0).fit(X.reshape(-1, 1, 8, 8), y)
    assert auc(wrong, detector) > 0.93


@pytest.mark.slow
def test_many_classes():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(100), 12)
    rows = rng.normal(size=(100, 30))[truth] * 2 + rng.normal(size=(1200, 30))
    y, wrong = symmetric_noise(truth, 0.1, random_state=0)
    detector = MislabelDetector(classifier(max_epochs=8), random_state=0).fit(rows, y)
    assert auc(wrong, detector) > 0.97
    assert detector.label_log_proba_.shape == (1200, 100)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_a_class_that_no_row_carries_keeps_its_column(frozen):
    some = Y > 0
    y, wrong = symmetric_noise(Y[some], 0.1, random_state=0)
    if frozen:
        model = classifier().partial_fit(X[some], y, classes=np.arange(10))
        settings = {"estimator": FrozenEstimator(model)}
        settings["validation"] = ValidationData(X_HELD[Y_HELD > 0], Y_HELD[Y_HELD > 0])
    else:
        settings = {"estimator": classifier(classes=np.arange(10))}
    detector = MislabelDetector(random_state=0, **settings).fit(X[some], y)
    assert detector.classes_.tolist() == list(range(10))
    assert auc(wrong, detector) > 0.95
    assert (detector.suggested_labels_ == Y[some]).mean() > 0.9
    assert (detector.label_log_proba_[:, 0] < np.log(0.01)).all()


def test_rows_that_no_split_held_are_not_judged():
    splitter = ShuffleSplit(2, train_size=0.4, test_size=0.1, random_state=0)
    held = np.zeros(1300, dtype=bool)
    for train, held_out in splitter.split(X, Y):
        held[train] = held[held_out] = True
    detector = MislabelDetector(
        classifier(max_epochs=3), validation=splitter, contamination=0.1, random_state=0
    ).fit(X, Y)
    assert (np.isfinite(detector.scores_) == held).all()
    assert (np.isfinite(detector.label_log_proba_).all(1) == held).all()
    assert detector.suspicious_.sum() == round(0.1 * held.sum())
    assert not detector.suspicious_[~held].any()
    assert (detector.suggested_labels_[~held] == Y[~held]).all()


def test_a_single_validation_row_decides_nothing(recwarn):
    one = ValidationData(X_HELD[:1], Y_HELD[:1])
    detector = MislabelDetector(classifier(max_epochs=2), validation=one).fit(X, Y)
    assert detector.diagnostics_[["noise_model", "validation"]].iloc[0].tolist() == [
        "as given",
        "as noisy",
    ]
    assert not [each for each in recwarn if "std()" in str(each.message)]


@pytest.mark.slow
def test_a_row_of_weight_zero_does_not_shape_its_class(tenth):
    y, _, plain = tenth
    weight = np.ones(1300)
    weight[Y == 3] = 1e-6
    light = MislabelDetector(classifier(), random_state=0).fit(X, y, sample_weight=weight)
    threes = (y == 3) & (Y == 3)
    assert np.median(plain.scores_[threes]) > 2
    assert np.median(light.scores_[threes]) < 0


@pytest.mark.slow
def test_confusions_of_rows_without_weight_do_not_count():
    y, wrong = pair_noise(Y, 0.3, random_state=0)
    weight = np.ones(1300)
    weight[wrong & (Y == 4)] = 1e-6
    detector = MislabelDetector(classifier(), validation=CLEAN).fit(X, y, sample_weight=weight)
    assert detector.transition_[4, 5] < 0.05
    assert detector.transition_[5, 6] > 0.2


def test_given_contamination_and_what_is_not_changed():
    y, _ = symmetric_noise(Y, 0.1, random_state=0)
    model, kept = classifier(max_epochs=2), (X.copy(), y.copy())
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    detector = MislabelDetector(model, contamination=0.05, random_state=0).fit(X, y)
    assert detector.contamination_ == 0.05
    assert detector.suspicious_.sum() == 65
    assert (kept[0] == X).all()
    assert (kept[1] == y).all()
    y[:] = 0  # as where labels are corrected in place, before the report
    assert (detector.given_labels_ == kept[1]).all()
    assert not hasattr(model, "trajectory_")
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()


@pytest.mark.slow
def test_snapshots_are_denser_early_in_training():
    fitted = classifier(max_epochs=20).fit(X[:320], Y[:320])  # 100 steps
    path = problem_from_estimator(fitted, X[:320], Y[:320]).path
    found = [state.step / path.n_steps for state in snapshot_states(path)]
    np.testing.assert_allclose(found, (0.05, 0.15, 0.25, 0.45, 0.75), atol=0.01)


def test_validation_labels_are_compared_before_training():
    trained = problem_from_estimator(classifier(max_epochs=5).fit(X, Y), X, Y)
    still = classifier(max_epochs=1, lr=1e-30).fit(X, Y)
    untrained = problem_from_estimator(still, X, Y)
    last = snapshot(untrained, snapshot_states(untrained.path)[-1], untrained.X)
    torch.testing.assert_close(initial_features(trained, trained.X), last.features)


@pytest.mark.slow
def test_wrong_labels_that_were_memorised_are_counted_all_the_same():
    """The count starts from features that no label has touched."""
    y, wrong = symmetric_noise(Y, 0.4, random_state=0)
    network = classifier(max_epochs=40, lr=0.5, rho=0, batch_size=16, module__n_hidden=128)
    detector = MislabelDetector(network, random_state=0).fit(X, y)
    memorised = detector.estimator_.predict(X)[wrong] == y[wrong]
    assert memorised.mean() > 0.15  # by chance it would hit a ninth of the wrong labels at most
    assert detector.contamination_ == pytest.approx(0.4, abs=0.04)


@pytest.mark.slow
def test_rows_per_pass_do_not_matter():
    rows, labels = X[:200], Y[:200]
    fitted = classifier(max_epochs=3).fit(rows, labels)
    whole, some = (problem_from_estimator(fitted, rows, labels, batch_size=b) for b in (200, 7))
    for state in snapshot_states(whole.path):
        one, other = (snapshot(problem, state, problem.X) for problem in (whole, some))
        torch.testing.assert_close(one.features, other.features, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            one.log_probabilities, other.log_probabilities, rtol=1e-5, atol=1e-5
        )


def test_a_snapshot_is_taken_at_the_state_and_not_at_the_end():
    module = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    fitted = classifier(module=module, max_epochs=3).fit(X, Y)
    problem = problem_from_estimator(fitted, X, Y)
    states = snapshot_states(problem.path)
    assert len(states) > 1
    for state in states:
        seen = snapshot(problem, state, problem.X)
        twin = copy.deepcopy(fitted.module_).eval()
        nn.utils.vector_to_parameters(state.params, twin.parameters())
        twin.load_state_dict(state.buffers, strict=False)
        with torch.no_grad():
            expected = twin(problem.X)
        torch.testing.assert_close(seen.log_probabilities, expected.log_softmax(1))
        torch.testing.assert_close(seen.features, twin[:3](problem.X).detach())


def test_features_are_kept_a_second_time_only_where_labels_may_be_trusted():
    whole = trained_split(classifier(max_epochs=2).fit(X[:300], Y[:300]), Y[:300], X[:300])
    n_states = len(snapshot_states(whole.problem.path))
    assert len(SplitEvidence(whole)._features) == n_states
    part = replace(whole, split=replace(whole.split, held_out=np.arange(300, 500)))
    assert SplitEvidence(part)._features == []


def test_buffers_go_where_the_rows_are():
    from sam_attribution.detection._snapshots import _in_batches

    found = []

    def features_of(params, buffers, X):
        found.extend(each.device.type for each in (params, *buffers.values()))
        return (torch.zeros(len(X), 10),) * 2

    module = nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10))
    fitted = classifier(module=module, max_epochs=1).fit(X, Y)
    problem = problem_from_estimator(fitted, X, Y)
    state = problem.path.recorded_states[0]
    _in_batches(problem, state, problem.X[:5].to("meta"), features_of)
    assert len(found) == 4
    assert set(found) == {"meta"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"estimator": classifier(trajectory=None, max_epochs=1)},
            "needs recorded states of the training",
        ),
        ({"contamination": 1.0}, "contamination"),
        ({"contamination": "many"}, "contamination"),
        ({"validation": (X, Y)}, "validation must be a fraction"),
        ({"estimator": FrozenEstimator(classifier())}, "frozen estimator needs validation"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MislabelDetector(**settings).fit(X[:100], Y[:100])


def test_a_network_that_learns_nothing_is_warned_of_at_the_line_of_the_user():
    rng = np.random.default_rng(0)
    with pytest.warns(AttributionWarning, match="hardly better than the class freq") as caught:
        MislabelDetector(classifier(max_epochs=3), random_state=0).fit_predict(
            rng.normal(size=(300, 5)), np.arange(300) % 3
        )
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("size", "validation", "advice"),
    [
        (1, 0.3, "Train longer, change lr, hold out more rows: validation=5"),
        (100, StratifiedKFold(3), r"Scale the features, train longer, change lr\.$"),
        (
            1,
            ValidationData(np.eye(5)[[0, 1, 2]], [0, 1, 2]),
            "Train longer, change lr, pass more val",
        ),
    ],
)
def test_a_network_that_learns_nothing_is_not_told_what_is_done_already(size, validation, advice):
    rows = np.random.default_rng(0).normal(size=(90, 5))
    with pytest.warns(AttributionWarning, match=f"weak evidence. {advice}"):
        MislabelDetector(
            classifier(max_epochs=1, lr=1e-6), validation=validation, random_state=0
        ).fit(size * rows, np.arange(90) % 3)


def test_a_network_that_predicts_one_class_is_warned_of():
    start = nn.Linear(5, 3)
    with torch.no_grad():
        start.bias.copy_(torch.tensor([0.0, 1e3, 0.0]))
    with pytest.warns(AttributionWarning, match="predicts 1 for every validation row, so scores"):
        MislabelDetector(classifier(module=start, max_epochs=1, lr=1e-6)).fit(
            np.random.default_rng(0).normal(size=(90, 5)), np.arange(90) % 3
        )


def test_nothing_of_an_earlier_fit_is_left():
    detector = MislabelDetector(classifier(max_epochs=1)).fit(X, Y)
    with pytest.raises(ValueError, match="at least two classes"):
        detector.fit(X, np.zeros(1300))
    with pytest.raises(NotFittedError):
        detector.report("page.html", X)
    assert not hasattr(detector, "estimator_")


@pytest.mark.slow
@parametrize_with_checks(
    [MislabelDetector(SAMClassifier(max_epochs=2))],
    expected_failed_checks=lambda estimator: {
        "check_methods_subset_invariance": "log-odds of float32 outputs agree to 1e-5, not 1e-7"
    },
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
