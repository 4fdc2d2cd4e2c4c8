"""How many labels are wrong: a likelihood over all rows, averaged over readings of the noise."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from sam_attribution.detection._calibrated_classes import CalibratedClasses
from sam_attribution.detection._noise_patterns import (
    one_sided,
    only,
    scaled,
    shrunk,
    symmetric_pattern,
)
from sam_attribution.detection._noise_rates import (
    between,
    interval_of,
    prior_of_rates,
    rates_for,
    where_it_matters,
)
from sam_attribution.detection._transition import cost_of_own_rates

_SYMMETRIC = 0.7  # of each wrong label being as likely as another
_ALMOST_CLEAN = 0.02
_CONVERGED = 0.005
_HARDLY_ANY = 0.03
_RATE_OF_PAIR, _N_ROUNDS_ALONE = 0.3, 2
_MOST_PAIRS, _LEAST_SHARE_OF_PAIR = 12, 0.005
_SIGNIFICANT = 2  # standard errors
_LOG_SCALE = (-5.0, 0.0)  # of what signals say at face value
_LEAST_CONFUSED = 2e-3
_LEAST_WEIGHT = 0.02
_TINY = 1e-12
_UNEXPLAINED = 0.02  # share of wrong labels that follow no pattern


@dataclass(frozen=True, eq=False)
class Reading:
    """A pattern of wrong labels, and how well the given labels agree with it at each noise rate.

    Attributes
    ----------
    transition : callable
        From a noise rate to the transition matrix.
    log_evidence : ndarray of shape (n_rates,)
        Log of prior and likelihood, less a penalty.
    classes : list of CalibratedClasses
    judged : list of JudgedRows
    """

    transition: Callable
    log_evidence: np.ndarray
    classes: list
    judged: list


class NoiseShare:
    """What a likelihood of the given labels says about the noise.

    Parameters
    ----------
    scores : object
        ``scores.judged(memberships)`` returns a list of JudgedRows for classes that are fitted to
        such probabilities of the true classes, (n_rows, n_classes); the row's own label has no
        part in them. :meth:`of_other_rows` needs ``scores.unseen``, and :meth:`ranking`
        ``scores.ranked``, as :class:`~sam_attribution.detection._untouched_scores.UntouchedScores`
        has them.
    y : ndarray of int, shape (n_rows,)
        Codes of the given labels.
    n_classes : int
    weights : ndarray of shape (n_rows,), optional
    is_right : ndarray of bool, shape (n_rows,), optional
        True for labels that are known to be right.

    Attributes
    ----------
    rates : ndarray of shape (n_rates,)
        Shares of wrong labels.
    probabilities : ndarray of shape (n_rates,)
        How probable each of these is.
    none_wrong : float
        Probability that no label is wrong.
    share : float
        Mean of the rates.
    interval : tuple of float
        Their 5th and 95th percentile.
    transition : ndarray of shape (n_classes, n_classes)
        Mean of the transition matrices.

    Notes
    -----
    Readings are averaged instead of chosen. *Symmetric* noise comes first. With two classes, one
    of them alone may be mislabelled; with more, expectation maximisation finds rates of their own
    for pairs of classes. Where hardly any noise is found, a few pairs may be confused that stand
    out alone: classes that overlap hide them from rates of all pairs at once. All readings but the
    first pay for what they gain by chance: a standard error of the log-likelihood beyond that of
    symmetric noise, and a part of what it costs to give each pair a rate of its own.
    """

    n_rounds = 4  # of expectation maximisation

    def __init__(self, scores, y, n_classes, weights=None, is_right=None):
        self._scores, self._y, self._n_classes = scores, y, n_classes
        self.rates = rates_for(n_classes)
        self._weights = np.ones(len(y)) if weights is None else weights
        self._is_right = np.zeros(len(y), bool) if is_right is None else is_right
        counts = np.bincount(y, self._weights, n_classes) + 1
        self._log_prior = np.log(counts / counts.sum())
        self._symmetric = symmetric_pattern(np.bincount(y, minlength=n_classes) > 0)
        self._readings = self._read()
        self._weight = _weights(self._readings)
        self.probabilities = self._weight.sum(0)
        self.none_wrong = float(self.probabilities[0])
        self.share = float(self.probabilities @ self.rates)
        self.interval = interval_of(self.rates, self.probabilities)
        self.transition = sum(
            weight * reading.transition(rate)
            for reading, weights in zip(self._readings, self._weight, strict=True)
            for rate, weight in zip(self.rates, weights, strict=True)
        )

    @property
    def judged(self):
        """JudgedRows with the scores of classes that are fitted to the labels as given."""
        return self._readings[0].judged

    @property
    def labels(self):
        """Codes of the given labels."""
        return self._y

    def disagreement(self):
        """Share of the held-out rows whose label is not the most probable class.

        The classes are fitted as if almost all labels were right. Without held-out rows it is a
        share of the rows trained on; NaN without any, or if none of them has a weight.
        """
        if not self.judged:
            return np.nan
        symmetric = self._readings[0]
        rows, classes = symmetric.judged[0].rows, symmetric.classes[0]
        weights = self._weights[rows]
        if not weights.any():
            return np.nan
        classes.fit(symmetric.transition(_ALMOST_CLEAN))
        other = classes.probabilities.argmax(1) != self._y[rows]
        return float(np.average(other, weights=weights))

    def posterior(self):
        """Probability (n_rows, n_classes) of each class to be the true one; NaN: not judged."""
        total = np.zeros((len(self._y), self._n_classes))
        whole = self._weight.sum(1)
        heavy = [number for number, weight in enumerate(whole) if weight > _LEAST_WEIGHT]
        for number in heavy:
            rate = self._weight[number] @ self.rates / whole[number]
            total += whole[number] * self._posterior_of(self._readings[number], rate)
        return total / whole[heavy].sum()

    def of_other_rows(self):
        """What is known of rows that came later, under the most probable reading.

        Returns
        -------
        memberships : ndarray of shape (n_rows, n_classes)
            Probabilities to which the classes are fitted that score them.
        calibration : Calibration
            Fitted to the rows that a network held out.
        transition : ndarray of shape (n_classes, n_classes)
            A few wrong labels follow no pattern.
        """
        memberships = self._most_probable_memberships()
        classes = self._calibrated(self._scores.unseen(memberships))
        return memberships, classes.calibration, self._with_chance()

    def ranking(self, at_face_value):
        """Log-probability of each class to be the true one, by all kinds of scores.

        Scores that know the label of a row, since a network was trained on it, count for what such
        scores are worth for rows that were held out. This ranks better, and says nothing of how
        many labels are wrong. What the signals say at face value ranks well where the network has
        memorised labels, and is too sure of itself: the inverse temperature that makes the held-out
        labels most probable is its weight in the mean, too.

        Parameters
        ----------
        at_face_value : ndarray of shape (n_rows, n_classes)
            Log-probability of each class, without the label of the row.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            NaN where not judged.
        """
        parts = self._scores.ranked(self._most_probable_memberships())
        classes = self._calibrated(parts[0])
        found = np.full((len(self._y), self._n_classes), np.nan)
        for part in parts:
            found[part.rows] = log_softmax(classes.log_probabilities(part.scores), axis=1)
        given, some = self._log_probability_of_label(), parts[0].rows
        scale = _inverse_temperature(at_face_value[some], given[some], self._weights[some])
        mean = (found + scale * (scale * at_face_value)) / (1 + scale)
        return log_softmax(mean + given, axis=1)

    def _log_probability_of_label(self):
        """Of each row under each class, (n_rows, n_classes); a few follow no pattern."""
        by_chance = scaled(self._symmetric)(_UNEXPLAINED)
        known, others = by_chance[:, self._y].T, self._with_chance()[:, self._y].T
        return np.log(np.where(self._is_right[:, None], known, others))

    def _most_probable_memberships(self):
        return self._readings[self._weight.sum(1).argmax()].judged[0].memberships

    def _calibrated(self, judged):
        classes = self._classes(judged)
        classes.fit(self.transition)
        return classes

    def _with_chance(self):
        """The transition, if a few wrong labels follow no pattern."""
        by_chance = scaled(self._symmetric)(_UNEXPLAINED)
        return self.transition @ by_chance

    def _posterior_of(self, reading, rate):
        transition = reading.transition(rate)
        found = np.full((len(self._y), self._n_classes), np.nan)
        for rows, classes in zip(reading.judged, reading.classes, strict=True):
            classes.fit(transition)
            found[rows.rows] = classes.posterior(transition)
        return found

    def _read(self):
        given = np.eye(self._n_classes)[self._y]
        judged = self._scores.judged(given)
        symmetric = self._reading(scaled(self._symmetric), judged)
        readings = [self._weighed(*symmetric, np.log(_SYMMETRIC))]
        if self._n_classes == 2:
            others = [
                (one_sided(z, np.exp(self._log_prior[z])), judged, 0.0, (1 - _SYMMETRIC) / 2)
                for z in (0, 1)
            ]
        else:
            others = self._confusions(judged, symmetric[2])
        readings += self._compared(symmetric, others)
        if self._n_classes > 2 and _weights(readings).sum(0) @ self.rates < _HARDLY_ANY:
            readings += self._compared(symmetric, self._pairs(symmetric))
        return readings

    def _compared(self, symmetric, others):
        """Readings that pay for what they gain over the symmetric one by chance.

        One that explains the held-out labels worse is none: what it gains elsewhere it owes to
        features that do not tell the classes apart as the network does.
        """
        usual, found = self._likelihood_at_best(symmetric), []
        for transition, judged, cost, prior in others:
            reading = self._reading(transition, judged)
            gain = self._likelihood_at_best(reading) - usual
            if gain[judged[0].rows].sum() >= 0:
                found.append(self._weighed(*reading, np.log(prior) - _by_chance(gain) - cost))
        return found

    def _reading(self, transition, judged):
        """Transition, rows, their classes, and the log-likelihood at each rate that is tried."""
        classes = [self._classes(each) for each in judged]
        known = {}  # fitted parameters by rate

        def log_likelihood(rate):
            if len(known) > 1:
                for each, start in zip(classes, between(known, rate), strict=True):
                    each.parameters = start
            found = sum(each.fit(transition(rate)) for each in classes)
            known[rate] = [each.parameters for each in classes]
            return found

        found = where_it_matters(
            log_likelihood, self.rates[-1], has_one_peak=not self._is_right.any()
        )
        return transition, judged, classes, found

    def _weighed(self, transition, judged, classes, log_likelihood, log_prior):
        everywhere = PchipInterpolator(*log_likelihood)(self.rates)
        return Reading(transition, everywhere + log_prior, classes, judged)

    def _likelihood_at_best(self, reading):
        transition_at, judged, classes, (rates, log_likelihood) = reading
        transition = transition_at(rates[log_likelihood.argmax()])
        for each in classes:
            each.fit(transition)
        return self._likelihood(judged, classes, transition)

    def _likelihood(self, judged, classes, transition):
        """Weighted log-probability (n_rows,) of the given labels; 0 if not judged."""
        found = np.zeros(len(self._y))
        for rows, each in zip(judged, classes, strict=True):
            found[rows.rows] = each.log_likelihood(transition)
        return found * self._weights

    def _classes(self, judged):
        rows = judged.rows
        some = self._y[rows], self._weights[rows], self._is_right[rows]
        return CalibratedClasses(judged.scores, *some, self._log_prior)

    def _confusions(self, judged, classes):
        """A reading by expectation maximisation, its cost and prior; nothing if all is right.

        It starts from the last fit of `classes`.
        """
        almost_clean = scaled(self._symmetric)(_ALMOST_CLEAN)
        classes = self._fitted(judged, almost_clean, classes)
        likely = self._whole(judged, [each.probabilities for each in classes])
        joint = self._counts(np.eye(self._n_classes)[likely.argmax(1)]) + np.eye(self._n_classes)
        return self._maximised(judged, classes, shrunk(joint), shrunk)[0]

    def _pairs(self, symmetric):
        """A reading of few confused pairs of classes; nothing if none stands out alone.

        Where classes overlap, expectation maximisation of all rates at once takes the overlap for
        noise.
        """
        _, judged, classes, _ = symmetric
        usual = self._likelihood_at_best(symmetric)
        confused = np.zeros((self._n_classes, self._n_classes))
        for pair in self._candidates(judged, classes):
            alone = np.zeros_like(confused)
            alone[pair] = _RATE_OF_PAIR
            _, likelihood, rates = self._maximised(
                judged, classes, scaled(alone)(1), only(alone > 0), _N_ROUNDS_ALONE
            )
            if (likelihood - usual).sum() > _SIGNIFICANT * _by_chance(likelihood - usual):
                confused[pair] = rates[pair]
        if not confused.any():
            return []
        return self._maximised(judged, classes, scaled(confused)(1), only(confused > 0))[0]

    def _candidates(self, judged, classes):
        """Pairs of a class and a label that disagree most often under the last fit of classes."""
        likely = self._whole(judged, [each.probabilities for each in classes])
        joint = self._counts(np.eye(self._n_classes)[likely.argmax(1)])
        share = joint * (1 - np.eye(self._n_classes)) / joint.sum()
        most = np.argsort(-share, axis=None)[:_MOST_PAIRS]
        pairs = zip(*np.unravel_index(most, share.shape), strict=True)
        return [pair for pair in pairs if share[pair] > _LEAST_SHARE_OF_PAIR]

    def _maximised(self, judged, classes, transition, update, n_rounds=None):
        """Expectation maximisation: a list of one reading or none, likelihood, and transition."""
        classes, memberships = self._memberships(judged, transition, classes)
        for _ in range(n_rounds or self.n_rounds):
            judged = self._scores.judged(memberships)
            classes, memberships = self._memberships(judged, transition, classes)
            counts = self._counts(memberships)
            before, transition = transition, update(counts)
            if abs(transition - before).max() < _CONVERGED:
                break
        likelihood = self._likelihood(judged, classes, transition)
        rate = counts.sum(1) @ (1 - transition.diagonal()) / max(counts.sum(), _TINY)
        if rate < _LEAST_CONFUSED:
            return [], likelihood, transition
        pattern = transition * (1 - np.eye(self._n_classes)) / rate
        cost = cost_of_own_rates(np.where(transition > 0, counts, 0)) / 4
        return [(scaled(pattern), judged, cost, 1 - _SYMMETRIC)], likelihood, transition

    def _memberships(self, judged, transition, start):
        classes = self._fitted(judged, transition, start)
        return classes, self._whole(judged, [each.posterior(transition) for each in classes])

    def _fitted(self, judged, transition, start):
        """Classes of the judged rows, fitted from the parameters of others."""
        classes = [self._classes(rows) for rows in judged]
        for each, other in zip(classes, start, strict=True):
            each.parameters = other.parameters
            each.fit(transition)
        return classes

    def _whole(self, judged, parts):
        found = np.zeros((len(self._y), self._n_classes))
        for each, part in zip(judged, parts, strict=True):
            found[each.rows] = part
        return found

    def _counts(self, memberships):
        """Weight of the rows of each class (first axis) that were given each label."""
        unsure = ~self._is_right
        weighted = (memberships * self._weights[:, None])[unsure]
        counts = np.zeros((self._n_classes, self._n_classes))
        np.add.at(counts.T, self._y[unsure], weighted)
        return counts


def _inverse_temperature(log_p, given, weights):
    """Factor of at most 1 of log-probabilities that makes the given labels most probable."""

    def unlikelihood(log_scale):
        likely = logsumexp(log_softmax(np.exp(log_scale) * log_p, axis=1) + given, axis=1)
        return -weights @ likely

    return np.exp(minimize_scalar(unlikelihood, bounds=_LOG_SCALE, method="bounded").x)


def _by_chance(gain):
    """Standard error of a sum of independent gains."""
    return gain.std() * len(gain) ** 0.5


def _weights(readings):
    """Posterior weight (n_readings, n_rates) of each reading and rate; they sum to 1."""
    log_evidence = np.stack([each.log_evidence for each in readings])
    weight = np.exp(log_evidence - log_evidence.max()) * prior_of_rates(log_evidence.shape[1])
    return weight / weight.sum()
