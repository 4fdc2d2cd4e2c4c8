"""Scores of many rows, in this process or shared between several: the same bits."""

import torch
from joblib import effective_n_jobs

from sam_attribution._jobs import in_parallel
from sam_attribution._rows import part_of
from sam_attribution.probes import row_scores, training_scores


def scores_of_trained(problem, probes, *, given_only=False, n_jobs=None):
    """``training_scores``; with ``n_jobs`` above 1 every probe must hold for all rows."""
    shares = _shares(problem, len(problem.y), n_jobs)
    if len(shares) == 1:
        return training_scores(problem, probes, given_only=given_only)
    probes = list(probes)
    jobs = (
        {"problem": problem.part(share), "probes": probes, "given_only": given_only}
        for share in shares
    )
    return _gathered(training_scores, jobs, n_jobs)


def scores_of_any(problem, probes, X, y=None, *, n_jobs=None):
    """``row_scores`` of rows that need not have been trained on, for every label without `y`."""
    shares = _shares(problem, len(X), n_jobs)
    if len(shares) == 1:
        return row_scores(problem, probes, X, y)
    probes = list(probes)
    lean = problem.part(torch.zeros(1, dtype=torch.long))  # the model without its rows
    jobs = (
        {"problem": lean, "probes": probes, "X": part_of(X, at), "y": None if y is None else y[at]}
        for at in shares
    )
    return _gathered(row_scores, jobs, n_jobs)


def _shares(problem, n_rows, n_jobs):
    """Positions for each job: whole passes, so that the bits are those of one job."""
    passes = torch.arange(n_rows).split(problem.rows_per_pass)
    n_jobs = effective_n_jobs(n_jobs) if problem.params.device.type == "cpu" else 1
    per_job = -(-len(passes) // n_jobs)
    return [torch.cat(passes[i : i + per_job]) for i in range(0, len(passes), per_job)]


def _gathered(function, arguments, n_jobs):
    return torch.cat(list(in_parallel(function, arguments, n_jobs=n_jobs)))
