"""Noise rates: their prior and interval, and those at which a likelihood is computed."""

import numpy as np

_CLEAN = 0.25  # prior probability of no wrong label
_TRIED = (0, 0.03, 0.1, 0.2, 0.32, 0.45)  # and the highest
_HIGHEST, _STEP = 0.6, 0.01
_NEGLIGIBLE = 20  # nats below the best rate


def rates_for(n_classes):
    """Shares of wrong labels (n_rates,) that are distinguished, from 0.

    With two classes, labels more than half of which are wrong are those of the other class.
    """
    highest = min(_HIGHEST, 1 - 1 / max(n_classes, 2))
    return np.linspace(0, highest, round(highest / _STEP) + 1)


def prior_of_rates(n_rates):
    """Prior probabilities (n_rates,): a quarter at the first, which is 0, the rest evenly."""
    prior = np.full(n_rates, (1 - _CLEAN) / (n_rates - 1))
    prior[0] = _CLEAN
    return prior


def interval_of(rates, probabilities):
    """5th and 95th percentile of ascending rates that are so probable, two floats."""
    below = probabilities.cumsum()
    positions = (min(np.searchsorted(below, p), len(rates) - 1) for p in (0.05, 0.95))
    return tuple(float(rates[position]) for position in positions)


def where_it_matters(log_likelihood, highest, *, has_one_peak):
    """Rates up to the highest and the log-likelihood there: a coarse grid, finer around the best.

    With one peak, rates above a negligible one are taken to be as improbable. Classes that right
    labels calibrate leave many wrong labels unexplained at a small rate: less likely than at none,
    where the classes are vague, and than at the true rate.
    """
    found = {}
    for rate in (*_TRIED, highest):
        known = list(found.values())
        is_negligible = has_one_peak and known and known[-1] < max(known) - _NEGLIGIBLE
        found[rate] = known[-1] if is_negligible else log_likelihood(rate)
    for _ in range(2):
        rates = sorted(found)
        best = rates.index(max(found, key=found.get))
        around = rates[max(best - 1, 0) : best + 2]
        for middle in np.convolve(around, [0.5, 0.5], "valid"):
            found[middle] = log_likelihood(middle)
    rates = sorted(found)
    return np.array(rates), np.array([found[rate] for rate in rates])


def between(known, rate):
    """Parameters at a rate, on the line through those of the two known rates beside it.

    Parameters
    ----------
    known : dict
        From two rates or more to a list of ndarray.
    rate : float
    """
    rates = sorted(known)
    above = int(np.clip(np.searchsorted(rates, rate), 1, len(rates) - 1))
    low, high = rates[above - 1], rates[above]
    share = min((rate - low) / (high - low), 2)  # above the highest: a start, not an answer
    pairs = zip(known[low], known[high], strict=True)
    return [one + share * (other - one) for one, other in pairs]
