"""Copies of a fitted estimator with edited weights, and what is reported of the edit."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch

from sam_attribution._fingerprint import fingerprint
from sam_attribution._turns import exclusive
from sam_attribution._warnings import warn
from sam_attribution.editing import (
    Edits,
    EndOfRun,
    LinearStep,
    codes_of,
    edit_report,
    nonlinearity_of,
    random_groups,
    verification,
    warn_of_nonlinearity,
    warn_of_rates,
)
from sam_attribution.fitting import Measure, net_of, with_net
from sam_attribution.training import Diverged, edited_copy

_REASON = (
    "SAMInfluence edited the weights, so the recorded training did not lead to them (to edit more "
    "rows, pass this model as after= to remove or relabel of the SAMInfluence that edited it)"
)


@exclusive()
def relabelled_estimator(attribution, rows, edits, replay):
    """Copy of a split's estimator with some ``Edits``, of which `rows` got their labels last.

    `replay` are options of ``EndOfRun``.
    """
    problem = attribution.problem
    group = torch.as_tensor(rows, device=problem.y.device)
    measure = Measure(attribution.trained.net.device)
    end = EndOfRun(problem, [edits], **replay)
    queries, before = attribution.validation, attribution.validation_outputs
    with _naming_the_remedy(end):
        (state,) = end.states(n_jobs=1, verbose=attribution.verbose)
        edit = {"how": end.how, "n_relabelled": len(rows), "share": end.share}
        edit["seconds"] = measure.lap()
        report = edit_report(queries, before, state, group, codes_of(problem, edits))
    warn_of_rates(problem, report, end.lr_factor)
    return _copy_of(attribution, state, edits, {"edit_": pd.Series(edit | report)})


@exclusive()
def edited_estimator(attribution, rows, earlier, way, *, verify, seed):
    """Copy of a split's estimator as if some rows of its problem had not been there.

    The model has the `earlier` ``Edits`` as well. `way` takes the attribution, groups of rows and
    the earlier edits, and returns an ``EndOfRun`` or a ``LinearStep``. `verify` random groups,
    drawn by `seed`, are trained without to compare.
    """
    trained, problem = attribution.trained, attribution.problem
    visited = torch.as_tensor(np.flatnonzero(trained.visited), device=problem.y.device)
    groups = [torch.as_tensor(rows, device=problem.y.device)]
    groups += random_groups(visited, len(rows), verify, seed)
    # no process of its own for one model
    options = {"n_jobs": attribution.n_jobs if verify else 1, "verbose": attribution.verbose}
    measure, way = Measure(trained.net.device), way(attribution, groups, earlier)
    edits = earlier.without(rows)
    with _naming_the_remedy(way):
        states = way.states(**options)
        state = next(states)
        edit = {"how": way.how, "n_removed": len(rows), "share": way.share}
        edit["seconds"] = measure.lap()
        others = [*states]
        report = _report(attribution, way, state, groups[0], edits, bool(verify))
    known = {"edit_": pd.Series(edit | report)}
    if verify:
        queries = attribution.validation
        known["verification_"] = verification(queries, groups[1:], others, **options)
    return _copy_of(attribution, state, edits, known)


@contextmanager
def _naming_the_remedy(way):
    """Context that adds to an error of steps that diverge what to do, by the way of editing."""
    try:
        yield
    except Diverged as error:
        raise ValueError(f"{error} {way.remedy}") from error


def _copy_of(attribution, state, edits, known):
    """A copy of a fitted estimator with an edited state, and attributes that tell of the edits."""
    trained = attribution.trained
    edited = edited_copy(trained.net, *state, _REASON)
    origin = fingerprint(attribution.problem.params)
    vars(edited).update(known, _edits=(origin, _state_of(edited), edits))
    return with_net(trained.estimator, edited)


def edits_of(estimator, attribution):
    """The ``Edits`` of an edited copy of a split's estimator; none of None.

    Raises a ValueError for another estimator.
    """
    if estimator is None:
        return Edits()
    net = net_of(estimator)
    origin, state, edits = getattr(net, "_edits", (None, None, None))
    if origin != fingerprint(attribution.problem.params):
        raise ValueError(
            "after must be a model that remove or relabel of this SAMInfluence returned, for the "
            f"same split, got {type(estimator).__name__}."
        )
    if state != _state_of(net):
        raise ValueError(
            f"after={type(estimator).__name__} has other weights than the edit gave it, as fit and "
            "partial_fit do. Pass the model as remove or relabel returned it."
        )
    return edits


def _state_of(net):
    """Hash of the parameters and buffers of a net."""
    module = net.module_
    return fingerprint([each.detach() for each in (*module.parameters(), *module.buffers())])


def _report(attribution, way, state, rows, edits, verified):
    """What an edit did, a dict; warns of one that is not to be trusted.

    The removed `rows` are the last of the `edits`.
    """
    queries, before = attribution.validation, attribution.validation_outputs
    report = edit_report(queries, before, state, rows)
    removed, relabelled = [*edits.removed], edits.relabelled
    report["predicted_rise"] = np.nan if relabelled else attribution.predicted_rise(removed)
    if way.is_linear:
        report["nonlinearity"] = nonlinearity_of(queries, before, state)
        warn_of_nonlinearity(report, verified=verified)
    else:
        warn_of_rates(queries.problem, report, way.lr_factor)
    return report


def way_of_editing(attribution, groups, earlier, *, how, replay, method):
    """How models without the groups are made; `replay` are options of ``EndOfRun``."""
    problem = attribution.problem
    edits = [earlier.without(group.tolist()) for group in groups]
    linear = LinearStep(problem, groups, attribution.prepared)
    if how == "linear":
        return linear
    try:
        return EndOfRun(problem, edits, **replay)
    except ValueError as error:
        if how != "auto" or len(earlier.rows) or attribution.prepared.removal_step is None:
            raise
        warn(
            f"the edit is a linear step by method={method!r}, because training cannot be "
            f"repeated: {error} A linear step may be far from a retrained model. Pass "
            'how="linear" to accept it without this warning.'
        )
        return linear


def check_can_remove(prepared, method):
    """Raise a ValueError for a method that says nothing about the weights."""
    if prepared.removal_step is None:
        raise ValueError(
            f"method={method!r} does not estimate the weights without a row. Use one that does: "
            '"gif", "tracin", "hif", "hif-fast", "hif-paper", "if" or "unrolled" (with '
            'ascent="exact").'
        )
