"""Scores of rows from probes, for the labels they carry and for those they might carry."""

import torch

from sam_attribution.probes._tangents import logits_and_tangents


def training_scores(problem, probes, *, given_only=False):
    """Scores of the rows trained on, for every label they might have carried.

    Parameters
    ----------
    problem : Problem
    probes : iterable of Probe
        A probe with ``rows`` counts for those rows only, with their exact share of the batch.
    given_only : bool, default=False
        Only for the label that each row has.

    Returns
    -------
    Tensor of shape (n_samples, n_classes, k), or (n_samples, k) with `given_only`
    """
    total = None
    for probe in probes:
        norm = (problem.total_weight if probe.rows is None else probe.rows_weight) or 1.0
        for rows in problem.chunks(probe.rows):
            part = _label_table(problem, probe, problem.X[rows])
            part = _carried(part, problem.y[rows]) if given_only else part
            if total is None:
                total = part.new_zeros(len(problem.y), *part.shape[1:])
            share = probe.rate * problem.weights[rows] / norm
            total[rows] += share.view(-1, *[1] * (part.ndim - 1)) * part
    return total


def row_scores(problem, probes, X, y=None):
    """Scores of any rows, as if each had been in every batch with weight 1/n.

    Parameters
    ----------
    problem : Problem
    probes : iterable of Probe
    X : Tensor of shape (n, ...)
    y : Tensor of shape (n,), optional
        Label codes; every label if None.

    Returns
    -------
    Tensor of shape (n, k) with `y`, (n, n_classes, k) without
    """
    total = 0.0
    for probe in probes:
        parts = []
        for rows in torch.arange(len(X), device=X.device).split(problem.rows_per_pass):
            table = _label_table(problem, probe, X[rows])
            parts.append(table if y is None else _carried(table, y[rows]))
        total = total + probe.rate / problem.total_weight * torch.cat(parts)
    return total


def _label_table(problem, probe, X):
    """<direction, gradient of a row's loss> for every label and direction, (n, n_classes, k)."""
    logits, tangents = logits_and_tangents(problem, probe, X)
    return problem.row_loss.label_table(logits, tangents)


def _carried(table, y):
    return table[torch.arange(len(y), device=y.device), y]
