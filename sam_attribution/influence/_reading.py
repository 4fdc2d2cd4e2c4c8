"""Ways to read the training rows for many queries: by tangents, or by row gradients."""

from collections.abc import Callable
from dataclasses import dataclass

from sam_attribution.methods import Projected
from sam_attribution.probes import pass_costs, reads_gradients, row_products

_BYTES = 2**29  # that the directions of all queries asked at once may take
_MOST_AT_ONCE = 4096
_DIFFERENTIATED_AT_ONCE = 64  # a whole state of training for each


@dataclass(frozen=True)
class Reading:
    """One way to read probes.

    ``of(probes)`` gives what is read in their place, for `at_once` queries together. A way that
    knows rows `by_position` cannot be shared between processes. `name` says which it is.
    """

    name: str
    at_once: int
    of: Callable
    by_position: bool = False


def choose_reading(how, problem, n_queries, *, own_way=False):
    """The way that `how` asks for, or the cheaper of the two exact ones.

    With `own_way` the method computes its scores by itself, so that there is nothing to choose.
    Raises a ValueError for another `how`, or one that the method does not have.
    """
    if not (isinstance(how, Projected) or (isinstance(how, str) and how in _NAMES)):
        raise ValueError(
            f'how must be "auto", "tangents", "row-gradients" or a Projected, got {how!r}.'
        )
    if own_way:
        return _own_way(how)
    at_once = _even_part(n_queries, _queries_at_once(problem))
    if isinstance(how, Projected):
        store = how.prepare(problem)
        return Reading(
            "projected", at_once, lambda probes: map(store, map(_projectable, probes)), True
        )
    if how == "auto":
        costs = pass_costs(problem, at_once)
        chosen = min(costs, key=costs.get)
        return Reading(chosen, at_once, row_products if chosen == "row-gradients" else _as_they_are)
    return Reading(how, at_once, _EXACT[how])


def _own_way(how):
    if how != "auto":
        raise ValueError(
            f'how must be "auto" with this method, which computes its scores itself, got {how!r}.'
        )
    return Reading("the method's own way", _DIFFERENTIATED_AT_ONCE, _as_they_are)


def _queries_at_once(problem):
    """Queries whose directions, and tangents of one pass, are within bounds."""
    tangents = problem.rows_per_pass * (problem.n_classes or 1)
    bytes_each = problem.params.element_size() * max(problem.layout.size, tangents)
    return max(1, min(_MOST_AT_ONCE, _BYTES // bytes_each))


def _even_part(n, most):
    """Size of the fewest parts of `n` that have at most `most`, all but the last alike."""
    return -(-n // -(-n // most))


def _as_they_are(probes):
    return probes


def _by_gradients(probes):
    return row_products(map(_checked, probes))


def _checked(probe):
    if reads_gradients(probe):
        return probe
    raise ValueError(
        "the scores of this method cannot be computed from row gradients. Use "
        'how="auto" or how="tangents".'
    )


def _projectable(probe):
    if _checked(probe).projectable:
        return probe
    raise ValueError(
        f"{type(probe).__name__} needs whole gradients, and a Projected has projections only. "
        'Use how="auto".'
    )


_EXACT = {"tangents": _as_they_are, "row-gradients": _by_gradients}
_NAMES = ("auto", *_EXACT)
