"""A classifier trained once on all rows, and the end of that training without some of them."""

from dataclasses import dataclass

import numpy as np
from sklearn.frozen import FrozenEstimator

from sam_attribution._warnings import recorded_warnings
from sam_attribution.editing import no_replay, without_rows
from sam_attribution.filtering._cache import Cache, Store
from sam_attribution.fitting import check_estimator_kind, fitted_on_all, is_frozen, net_of

_AUTO_STATES = 10  # recorded ones: the trainings on all folds are kept side by side


@dataclass(frozen=True)
class _Trained:
    """A classifier trained on all rows, and the warnings that this package issued with it."""

    estimator: object
    said: tuple = ()

    @property
    def nbytes(self):
        """Bytes of the recorded states."""
        return sum(_bytes_of(vars(state)) for state in net_of(self.estimator).trajectory_.states)


_STORE = Store(max_bytes=2**29)
_CACHE = Cache("Trainings on all rows", _STORE)


def check_can_replay(estimator, X, y, sample_weight=None):
    """Raise a ValueError, before anything is trained, if no training on these rows can be repeated.

    A frozen estimator must have been trained on them.
    """
    try:
        check_estimator_kind(estimator)
    except ValueError as error:
        raise no_replay(error) from error
    net = net_of(estimator)
    if net.trajectory is None:
        raise no_replay("the estimator has trajectory=None, so that nothing is recorded.")
    if net.trajectory_dir is not None and not is_frozen(estimator):
        raise no_replay(
            "the estimator writes its recorded states to trajectory_dir, which holds one training, "
            "and a search has several. Set trajectory_dir=None."
        )
    if is_frozen(estimator):
        _check_trained_on(estimator, X, y, sample_weight)


def _check_trained_on(estimator, *data):
    try:
        fitted_on_all(estimator, *data).check_data(*data)
    except ValueError as error:
        raise no_replay(
            f"{error} A search, or cross-validation, fits on a part of the rows each time: pass it "
            "an estimator that is not frozen."
        ) from error


def replayed_refit(estimator, fit, X, y, sample_weight, kept, *, memory, random_state):
    """A copy of `estimator` as if the last tenth of its training had had only the `kept` rows.

    The same steps are repeated whichever rows are kept, all of them as well: what differs between
    shares is then the rows alone.

    ``fit(estimator, X, y, sample_weight)`` fits the clone `estimator` on all rows; it is called
    unless the cache, as in ``Cache.get``, holds the training. Raises a ValueError if it cannot be
    repeated.
    """
    how = {"memory": memory, "random_state": random_state}
    trained = _trained_on_all(estimator, fit, X, y, sample_weight, **how)
    frozen = trained if is_frozen(trained) else FrozenEstimator(trained)
    try:
        of_all = fitted_on_all(frozen, X, y, sample_weight)
    except ValueError as error:
        raise no_replay(error) from error
    return without_rows(of_all, np.flatnonzero(~kept))


def _trained_on_all(estimator, fit, *data, **how):
    """The estimator after its training on all rows, which a frozen one has behind it."""

    def compute():
        with recorded_warnings() as said:
            _fit_with_few_states(estimator, fit, *data)
        return _Trained(estimator, tuple(said))

    if is_frozen(estimator):
        return fit(estimator, *data)
    return _CACHE.get(compute, estimator, *data, **how).estimator


def _fit_with_few_states(estimator, fit, *data):
    """Fit, with ten recorded states where it is left to this package how many there are."""
    net, chosen = net_of(estimator), net_of(estimator).trajectory
    if chosen == "auto":
        net.set_params(trajectory=_AUTO_STATES)
    fit(estimator, *data)
    net.trajectory = chosen


def _bytes_of(value):
    if isinstance(value, dict):
        return sum(map(_bytes_of, value.values()))
    return getattr(value, "nbytes", 0)
