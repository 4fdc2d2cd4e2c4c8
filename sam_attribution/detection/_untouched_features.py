"""Features that no label has touched: of the network before its training, and of the rows alone."""

import torch
from torch import Tensor

from sam_attribution._rows import passes_over
from sam_attribution.detection._class_model import leading_directions, subsample
from sam_attribution.detection._snapshots import initial_features

_MOST_NUMBERS = 256
_DIRECTIONS, _ROWS_FOR_DIRECTIONS = 100, 1500


def untouched_features(problem, sources):
    """Return kinds of features, each a list with a tensor (n, n_features) per source.

    Parameters
    ----------
    problem : Problem
        If its first recorded state is that before the training, the features there are one kind.
    sources : list of Tensor or RowSource
        Rows. Their own numbers are a kind of features if they are one array of floating-point
        numbers; their 100 leading principal components, if they are more than 256. If neither kind
        is there, the features at the first recorded state stand in, which labels have touched.
    """
    path = problem.path
    found = []
    if path.time_of(path.recorded_states[0]) == 0:
        found.append([initial_features(problem, X) for X in sources])
    numbers = _numbers(problem, sources)
    if numbers is not None and not (found and _same(numbers, found[0])):
        found.append(numbers)
    return found or [[initial_features(problem, X) for X in sources]]


def has_untouched(problem, X):
    """True if some features of the rows `X` are known that depend on no label."""
    path = problem.path
    return path.time_of(path.recorded_states[0]) == 0 or _is_one_array(X[:1])


def _is_one_array(batch):
    return isinstance(batch, Tensor) and batch.is_floating_point()


def _numbers(problem, sources):
    first = sources[0][:1]
    if not _is_one_array(first):
        return None
    if first[0].numel() <= _MOST_NUMBERS:
        return [_each(problem, X, lambda flat: flat) for X in sources]
    some = subsample(len(sources[0]), _ROWS_FOR_DIRECTIONS).to(sources[0].device)
    directions = leading_directions(
        _each(problem, sources[0], lambda flat: flat, some), _DIRECTIONS
    )
    return [_each(problem, X, lambda flat: flat @ directions) for X in sources]


def _each(problem, X, what, rows=None):
    """`what` of the rows as flat vectors, float32 on the CPU, read batch by batch."""
    rows = torch.arange(len(X), device=X.device) if rows is None else rows
    passes = passes_over(X, rows, problem.rows_per_pass)
    return torch.cat([what(X[some].flatten(1).float().cpu()) for some in passes])


def _same(numbers, features):
    return all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(numbers, features, strict=True)
    )
