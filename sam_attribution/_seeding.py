"""Hand a random state on to nested estimators that have none."""

import numpy as np
from sklearn.utils import check_random_state


def seed_nested(estimator, random_state):
    """Set every nested ``random_state`` of `estimator` that is None; return the estimator.

    An integer is handed on as it is, a generator gives each parameter (in the order of their
    names) an integer of its own, None changes nothing.
    """
    if random_state is None:
        return estimator
    seeds = {name: _seed(random_state) for name in _unset(estimator)}
    estimator.set_params(**seeds)  # a FrozenEstimator's returns nothing
    return estimator


def is_seeded(estimator):
    """True if no nested ``random_state`` of `estimator` is None."""
    return not _unset(estimator)


def _unset(estimator):
    params = estimator.get_params()
    names = sorted(name for name, value in params.items() if value is None and _is_seed(name))
    owners = {name: params.get(name.rpartition("__")[0], estimator) for name in names}
    # nobody can set a parameter of a net of from_module
    return [name for name, owner in owners.items() if not getattr(owner, "_is_fixed", False)]


def _is_seed(name):
    return name == "random_state" or name.endswith("__random_state")


def _seed(random_state):
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def draw_seed(random_state):
    """One integer seed. ``None`` asks the operating system, never numpy's global stream."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return _seed(check_random_state(random_state))


def integer_seed(random_state):
    """One integer seed: an integer itself, one drawn from a generator, or a fresh one for None."""
    return draw_seed(None) if random_state is None else _seed(random_state)
