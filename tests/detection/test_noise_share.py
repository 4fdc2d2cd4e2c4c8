"""The share of wrong labels, on Gaussians whose answer is known."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.model_selection import PredefinedSplit

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.detection._calibrated_classes import JudgedRows
from sam_attribution.detection._noise_share import NoiseShare

CENTRES = 2.2 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])


class Fixed:
    """Scores that do not depend on memberships: log-densities of the true classes."""

    def __init__(self, scores):
        self._scores = scores

    def judged(self, memberships):
        return [JudgedRows(np.arange(len(self._scores)), [self._scores])]


def drawn(transition, n=3000, seed=0):
    """Log-densities up to a constant, true classes and given labels."""
    rng = np.random.default_rng(seed)
    n_classes = len(transition)
    true = rng.integers(0, n_classes, n)
    features = CENTRES[true] + rng.normal(size=(n, 2))
    given = np.array([rng.choice(n_classes, p=transition[z]) for z in true])
    squares = ((features[:, None] - CENTRES[:n_classes]) ** 2).sum(2)
    return -squares / 2, true, given


def share_of(transition, **drawing):
    scores, true, given = drawn(np.asarray(transition), **drawing)
    return NoiseShare(Fixed(scores), given, len(transition)), scores, true, given


SYMMETRIC = np.full((4, 4), 0.08) + np.eye(4) * 0.68
PAIR = np.eye(4) * 0.75 + np.roll(np.eye(4), 1, 1) * 0.25
ONE_SIDED = [[1, 0], [0.3, 0.7]]


@pytest.mark.parametrize(
    ("truth", "error"),
    [
        (np.eye(4), 0.001),
        (SYMMETRIC, 0.025),
        (PAIR, 0.05),  # own rates of pairs are shrunk towards one another
        ([[0.8, 0.2], [0.2, 0.8]], 0.025),
        (ONE_SIDED, 0.025),
    ],
    ids=["clean", "symmetric", "pair", "two classes", "one of two classes"],
)
def test_the_share_and_the_transition_of_overlapping_classes(truth, error):
    """An eighth of the rows and more lie nearer to another class; that is no noise."""
    noise, scores, true, given = share_of(truth)
    assert (scores.argmax(1) != true).mean() > 0.12
    wrong = (true != given).mean()
    assert noise.share == pytest.approx(wrong, abs=error)
    low, high = noise.interval
    assert low - error <= wrong <= high + error
    assert high - low < 0.12
    np.testing.assert_allclose(noise.transition, truth, atol=max(0.06, 2 * error))
    np.testing.assert_allclose(noise.transition.sum(1), 1)


@pytest.mark.parametrize(
    ("truth", "error"), [(SYMMETRIC, 0.02), (PAIR, 0.035)], ids=["symmetric", "pair"]
)
def test_the_posterior_is_that_of_bayes_rule(truth, error):
    noise, scores, _, given = share_of(truth)
    posterior = noise.posterior()
    exact = softmax(scores, axis=1) * truth[:, given].T
    exact /= exact.sum(1, keepdims=True)
    assert np.abs(posterior - exact).mean() < error
    wrong = 1 - posterior[np.arange(len(given)), given]
    assert wrong.mean() == pytest.approx(noise.share, abs=0.01)


class Touched(Fixed):
    """A network was trained on the second half of the rows: other scores, of another spread."""

    def ranked(self, memberships):
        unseen, seen = np.split(np.arange(len(self._scores)), 2)
        parts = (unseen, self._scores[unseen]), (seen, 9 * self._scores[seen])
        return [JudgedRows(rows, [scores]) for rows, scores in parts]


def test_the_ranking_is_that_of_bayes_rule_whichever_rows_calibrate_it():
    scores, _, given = drawn(PAIR)
    exact = log_softmax(scores, axis=1)
    found = NoiseShare(Touched(scores), given, 4).ranking(exact)
    assert_bayes(found, scores, given)


@pytest.mark.parametrize("sure", [1, 5, 25])
def test_what_signals_say_at_face_value_is_scaled_to_what_it_is_worth(sure):
    scores, _, given = drawn(PAIR)
    found = NoiseShare(Touched(scores), given, 4).ranking(log_softmax(sure * scores, axis=1))
    assert_bayes(found, scores, given)


def test_signals_that_tell_nothing_count_for_nothing():
    scores, _, given = drawn(PAIR)
    shuffled = log_softmax(5 * np.random.default_rng(0).permutation(scores), axis=1)
    assert_bayes(NoiseShare(Touched(scores), given, 4).ranking(shuffled), scores, given)


def assert_bayes(found, scores, given):
    chance = np.eye(4) * 0.98 + (1 - np.eye(4)) * 0.02 / 3  # what no pattern explains
    exact = softmax(scores, axis=1) * (PAIR @ chance)[:, given].T
    exact /= exact.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(found).sum(1), 1)
    assert np.abs(np.exp(found) - exact).mean() < 0.035
    assert (found.argmax(1) == exact.argmax(1)).mean() > 0.95


def test_probabilities_of_the_rates_sum_to_one_and_narrow_with_more_rows():
    few, many = (share_of(SYMMETRIC, n=n)[0] for n in (200, 3000))
    for noise in (few, many):
        assert noise.probabilities.sum() == pytest.approx(1)
        assert noise.share == pytest.approx(noise.probabilities @ noise.rates)
    widths = [noise.interval[1] - noise.interval[0] for noise in (few, many)]
    assert widths[1] < widths[0] / 2


def test_a_row_of_weight_two_is_two_rows():
    scores, _, given = drawn(SYMMETRIC, n=300)
    weights = np.where(np.arange(300) < 100, 2.0, 1.0)
    twice = np.r_[np.arange(100), np.arange(300)]
    weighted = NoiseShare(Fixed(scores), given, 4, weights)
    repeated = NoiseShare(Fixed(scores[twice]), given[twice], 4)
    np.testing.assert_allclose(weighted.probabilities, repeated.probabilities, atol=0.01)
    assert weighted.share == pytest.approx(repeated.share, abs=0.005)


class Fitted:
    """Scores by the means of the classes, in 5 folds, so that memberships matter."""

    def __init__(self, features):
        self._features, self._folds = features, np.arange(len(features)) % 5

    def judged(self, memberships):
        scores = np.empty(memberships.shape)
        for fold in range(5):
            own = self._folds == fold
            others = memberships[~own]
            means = others.T @ self._features[~own] / others.sum(0)[:, None]
            scores[own] = self._features[own] @ means.T - (means**2).sum(1) / 2
        return [JudgedRows(np.arange(len(scores)), [scores])]


@pytest.mark.parametrize("rate", [0, 0.3])
def test_one_confused_pair_of_four_classes_that_overlap(rate):
    """The most frequent class is given the label of the next; nearly a fifth of rows overlap."""
    rng = np.random.default_rng(0)
    true = rng.choice(4, 2000, p=[0.4, 0.3, 0.2, 0.1])
    features = CENTRES[true] / 1.1 + rng.normal(size=(2000, 2))
    of_first = rng.permutation(np.flatnonzero(true == 0))
    given = true.copy()
    given[of_first[: int(rate * len(of_first))]] = 1
    noise = NoiseShare(Fitted(features), given, 4)
    assert noise.share == pytest.approx((given != true).mean(), abs=0.002 if rate == 0 else 0.03)
    assert noise.transition[0, 1] == pytest.approx(rate, abs=0.07)
    others = noise.transition - np.diag(noise.transition.diagonal())
    others[0, 1] = 0
    assert others.sum(1).max() < 0.04


class TwoParts:
    """Scores of another kind for the second half of the rows, which are not held out."""

    def __init__(self, *parts):
        self._parts = parts

    def judged(self, memberships):
        halves = np.split(np.arange(len(memberships)), 2)
        return [
            JudgedRows(rows, [scores]) for rows, scores in zip(halves, self._parts, strict=True)
        ]


@pytest.mark.parametrize("rate", [0, 0.3])
@pytest.mark.parametrize("seed", [1, 3])
def test_a_class_of_two_groups_that_only_held_out_rows_tell_apart(rate, seed):
    """A fifth of class 0 lies with class 1 in the one feature that all rows have."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 2, 2500)
    is_other = (true == 0) & (rng.random(2500) < 0.2)
    first = np.where(is_other, 1.5, np.where(true == 1, 0.8, -0.8)) + rng.normal(size=2500)
    second = 3.0 * is_other + rng.normal(size=2500)
    given = np.where((true == 0) & (rng.random(2500) < rate), 1, true)

    def log_density(*centre):
        return -((first - centre[0]) ** 2 + (second - centre[1]) ** 2) / 2

    groups = np.log(0.8) + log_density(-0.8, 0), np.log(0.2) + log_density(1.5, 3)
    exact = np.stack([logsumexp(groups, axis=0), log_density(0.8, 0)], axis=1)
    along_a_line = np.stack([-first, first], axis=1)
    noise = NoiseShare(TwoParts(exact[:1250], along_a_line[1250:]), given, 2)
    assert noise.share == pytest.approx((given != true).mean(), abs=0.045)


def test_of_two_classes_at_most_half_of_the_labels_are_wrong():
    """With most labels wrong, the classes would have changed their names."""
    scores, _, given = drawn(np.array([[0.55, 0.45], [0.45, 0.55]]), n=400)
    noise = NoiseShare(Fixed(scores), given, 2)
    assert noise.rates[-1] == 0.5
    assert noise.transition.diagonal().min() >= 0.5
    scores, _, given = drawn(np.full((4, 4), 0.18) + np.eye(4) * 0.28)
    assert NoiseShare(Fixed(scores), given, 4).share == pytest.approx(0.54, abs=0.05)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_of_weights_does_not_matter(unit):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    rows = rng.normal(size=(40, 3)) + y[:, None]
    network = SAMClassifier(max_epochs=2, random_state=0)
    detector = MislabelDetector(network, random_state=0)
    expected = detector.fit(rows, y, sample_weight=np.ones(40)).contamination_
    found = detector.fit(rows, y, sample_weight=np.full(40, unit)).contamination_
    assert found == pytest.approx(expected, rel=1e-3)


def test_weights_beyond_the_precision_of_the_network_are_refused():
    y = np.arange(40) % 2
    rows = np.random.default_rng(0).normal(size=(40, 3))
    for unit in (1e300, 1e-300):
        with pytest.raises(ValueError, match="sample_weight has numbers that are too"):
            MislabelDetector(SAMClassifier(max_epochs=1)).fit(rows, y, np.full(40, unit))


def test_most_labels_are_wrong_beside_right_ones():
    """Without noise the classes explain them vaguely; at a small rate hardly at all."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, 500)
    given = np.where(rng.random(500) < 0.6, (true + rng.integers(1, 5, 500)) % 5, true)
    is_right = np.arange(500) < 100
    given[is_right] = true[is_right]
    scores = 4.0 * np.eye(5)[true] + rng.normal(size=(500, 5))
    noise = NoiseShare(Fixed(scores), given, 5, is_right=is_right)
    assert noise.share == pytest.approx((true != given)[100:].mean(), abs=0.05)


def test_held_out_rows_without_weight_are_judged():
    """No weighted share of them disagrees with its label, and the others tell the noise."""
    rng = np.random.default_rng(0)
    true = np.arange(60) % 2
    rows = (rng.normal(size=(60, 3)) + 3 * true[:, None]).astype("float32")
    y = np.where(np.arange(60) % 12 == 5, 1 - true, true)
    held_out = np.arange(60) < 12
    detector = MislabelDetector(
        SAMClassifier(max_epochs=1, random_state=0),
        validation=PredefinedSplit(np.where(held_out, 0, -1)),
    )
    detector.fit(rows, y, sample_weight=(~held_out).astype(float))
    assert np.isfinite(detector.scores_).all()
    assert detector.contamination_ == pytest.approx((y != true).mean(), abs=0.08)
