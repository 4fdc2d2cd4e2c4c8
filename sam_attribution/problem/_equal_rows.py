"""Rows that are among those trained on."""

from collections import Counter

import torch
from torch import Tensor

from sam_attribution._rows import ArrayRows, passes_over


def equal_rows(problem, X):
    """Pairs of equal rows: their position in `X`, and in the rows of a problem.

    Empty if rows of the problem are as often equal to each other, and for rows of a Dataset, which
    may be drawn anew each time they are read.

    Parameters
    ----------
    problem : Problem
    X : Tensor or RowSource
    """
    if not all(isinstance(rows, Tensor | ArrayRows) for rows in (problem.X, X)):
        return []
    trained, others = _contents(problem, problem.X), _contents(problem, X)
    repeated = sum(n for n in Counter(trained).values() if n > 1) / len(trained)
    position = {content: number for number, content in reversed([*enumerate(trained)])}
    pairs = [(number, position[each]) for number, each in enumerate(others) if each in position]
    return pairs if len(pairs) > 2 * repeated * len(others) else []


def _contents(problem, X):
    """Bytes of each row, a list; read batch by batch."""
    passes = passes_over(X, torch.arange(len(X), device=X.device), problem.rows_per_pass)
    return [content for rows in passes for content in _bytes_of(X[rows])]


def _bytes_of(batch):
    parts = batch.values() if isinstance(batch, dict) else batch
    parts = [batch] if isinstance(batch, Tensor) else list(parts)
    arrays = [part.detach().cpu().contiguous().numpy() for part in parts]
    return [b"".join(part.tobytes() for part in row) for row in zip(*arrays, strict=True)]
