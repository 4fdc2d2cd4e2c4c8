"""Scores of rows from probes, for the labels they carry and for those they might carry."""

from itertools import groupby

import torch

from sam_attribution._overflow import REMEDY_FOR_OVERFLOW
from sam_attribution._rows import passes_over


def training_scores(problem, probes, *, given_only=False, rows=None):
    """Scores of rows trained on, for every label they might have carried, (n, n_classes, k).

    (n, k) with `given_only`: for the label that each row has. `rows` are the positions to score, in
    this order; all if None. A probe with ``rows`` counts for those rows only, with their exact
    share of the batch.
    """
    everyone = rows is None
    rows = torch.arange(problem.n_rows, device=problem.device) if everyone else rows
    place = torch.full((problem.n_rows,), -1, device=problem.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    total = None
    for group in _read_together(probes):
        members = rows if group[0].rows is None else group[0].rows
        wanted = slice(None) if everyone else (place[members] >= 0).nonzero()[:, 0]
        then = problem.at_epoch(group[0].epoch)
        for part, at in _passes(then, group[0], members, wanted):
            X = None if group[0].is_read else then.X[at]
            labels = then.y[at] if given_only else None
            for probe in group:
                read = _read(probe.of_members(part), then, X, labels)
                if total is None:
                    total = read.new_zeros(len(rows), *read.shape[1:])
                share = _shares(problem, probe, at).view(-1, *[1] * (read.ndim - 1))
                total.index_add_(0, place[at], share * read)  # a sampler may draw a row twice
    _check_finite(total[problem.weights[rows] != 0])
    return total


def _passes(problem, probe, members, wanted):
    """Pairs of the places in `members` that go through the model together, and their rows."""
    rows = members[wanted]
    if probe.is_read:  # nothing goes through it
        return [(wanted, rows)]
    places = torch.arange(len(members), device=members.device)[wanted]
    return zip(places.split(problem.rows_per_pass), problem.chunks(rows), strict=True)


def _read_together(probes):
    """Probes of a list that hold for the same rows, which are read once for them; others alone."""
    if not isinstance(probes, list):
        return ([probe] for probe in probes)
    return (
        [probe for _, probe in group] for _, group in groupby(enumerate(probes), _rows_of_probe)
    )


def _rows_of_probe(numbered):
    """Key that is equal for probes of all rows in one epoch, and different for all others."""
    number, probe = numbered
    return ("all", probe.epoch) if probe.rows is None else ("probe", number)


def row_scores(problem, probes, X, y=None):
    """Scores of any rows, as if each had been in every batch with weight 1/n.

    Shape (n, k) with label codes or targets `y`, (n, n_classes, k) for every label without.
    """
    total = 0.0
    for probe in probes:
        everyone = torch.arange(len(X), device=X.device)
        parts = [
            _read(probe, problem, X[rows], None if y is None else y[rows])
            for rows in passes_over(X, everyone, problem.rows_per_pass)
        ]
        share = probe.rate / problem.total_weight if probe.weighted else probe.rate
        total = total + share * torch.cat(parts)
    _check_finite(total)
    return total


def _check_finite(scores):
    """Raise a ValueError unless every score is a number; `scores` has a row's on its first axis."""
    n_bad = int((~torch.isfinite(scores.flatten(1)).all(1)).sum())
    if n_bad:
        raise ValueError(
            f"the scores of {n_bad} of {len(scores)} rows are not finite: weights or rows are so "
            f"large that derivatives overflow. {REMEDY_FOR_OVERFLOW}; a larger damping helps where "
            "the method has one."
        )


def _shares(problem, probe, rows):
    """Factor of each of `rows` in a probe: its rate, times the row's share of the loss there."""
    if not probe.weighted:
        return torch.full_like(problem.weights[rows], probe.rate)
    norm = problem.total_weight if probe.rows is None else probe.rows_weight
    return probe.rate * problem.weights[rows] / (norm or 1.0)


def _read(probe, problem, X, y):
    """Values of a probe for rows with the labels `y`, or for every label if None."""
    return probe.label_table(problem, X) if y is None else probe.given_label(problem, X, y)
