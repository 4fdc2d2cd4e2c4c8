"""Rows of a ValidationData that were trained on as well."""

from collections import Counter

import torch
from torch import Tensor

from sam_attribution._rows import ArrayRows, passes_over
from sam_attribution._warnings import warn


def warn_of_overlap(problem, X):
    """Warn if more of the rows `X` are among those trained on than rows of the latter are alike.

    Rows of a Dataset, which may be drawn anew each time they are read, are not compared.

    Parameters
    ----------
    problem : Problem
        Of the training.
    X : Tensor or RowSource
        Validation rows.
    """
    if not all(isinstance(rows, Tensor | ArrayRows) for rows in (problem.X, X)):
        return
    trained, others = _contents(problem, problem.X), _contents(problem, X)
    times = Counter(trained)
    repeated = sum(n for n in times.values() if n > 1) / len(trained)
    n_both = sum(each in times for each in others)
    if n_both > 2 * repeated * len(others):
        first = next(number for number, each in enumerate(others) if each in times)
        warn(
            f"{n_both} of the {len(others)} rows of validation are rows of X as well: row {first} "
            f"of validation is row {trained.index(others[first])} of X, for instance. The network "
            "has learned their labels, so they say too little about the labels of other rows. "
            "Take them out of X or out of validation, or pass validation=0.2."
        )


def _contents(problem, X):
    """Bytes of each row, a list; read batch by batch."""
    passes = passes_over(X, torch.arange(len(X), device=X.device), problem.rows_per_pass)
    return [content for rows in passes for content in _bytes_of(X[rows])]


def _bytes_of(batch):
    parts = batch.values() if isinstance(batch, dict) else batch
    parts = [batch] if isinstance(batch, Tensor) else list(parts)
    arrays = [part.detach().cpu().contiguous().numpy() for part in parts]
    return [b"".join(part.tobytes() for part in row) for row in zip(*arrays, strict=True)]
