"""Features that no label has touched: of the network before its training, and of the rows alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sam_attribution._rows import part_of, passes_over, tensors_in
from sam_attribution.detection._class_model import leading_directions, subsample
from sam_attribution.detection._snapshots import snapshot

_MOST_NUMBERS = 256
_DIRECTIONS, _ROWS_FOR_DIRECTIONS = 100, 1500
_ROWS_COMPARED = 100


def untouched_kinds(problem, X):
    """Return kinds of features, a list of functions of a network and rows.

    Parameters
    ----------
    problem : Problem
        If its first recorded state is that before the training, the features there are one kind.
    X : Tensor or RowSource
        Rows. Their own floating-point numbers are a kind of features, side by side if they have
        several parts; their 100 leading principal components, if they are more than 256. If neither
        kind is there, the features at the first recorded state stand in, which labels have touched.
    """
    path = problem.path
    first, numbers = FeaturesAt(path.recorded_states[0]), _own_numbers(problem, X)
    if numbers is None:
        return [first]
    if path.time_of(first.state) > 0:
        return [numbers]
    some = part_of(X, torch.arange(min(len(X), _ROWS_COMPARED), device=X.device))
    return [first] if _equal(first(problem, some), numbers(problem, some)) else [first, numbers]


@dataclass(frozen=True, eq=False)
class FeaturesAt:
    """Features of rows (n, n_features) at a state of the training."""

    state: object

    def __call__(self, network, X):
        return snapshot(network, self.state, X).features


@dataclass(frozen=True, eq=False)
class OwnNumbers:
    """The numbers of rows, or some directions in them, (n, n_features)."""

    directions: Tensor | None = None

    def __call__(self, network, X, rows=None):
        """Float32 on the CPU; of all rows, or those at some positions, read batch by batch."""
        rows = torch.arange(len(X), device=X.device) if rows is None else rows
        passes = passes_over(X, rows, network.rows_per_pass)
        return torch.cat([self._of(_numbers_in(X[some])) for some in passes])

    def _of(self, flat):
        return flat if self.directions is None else flat @ self.directions


def has_untouched(problem, X):
    """True if some features of the rows `X` are known that depend on no label."""
    path = problem.path
    return path.time_of(path.recorded_states[0]) == 0 or _numbers_in(X[:1]) is not None


def _numbers_in(batch):
    """Floating-point numbers (n_rows, n_numbers) of a batch, float32 on the CPU, or None."""
    parts = [part for part in tensors_in(batch) if part.is_floating_point()]
    flat = [part.reshape(len(part), -1).float().cpu() for part in parts]
    return torch.cat(flat, dim=1) if flat else None


def _own_numbers(problem, X):
    first = _numbers_in(X[:1])
    if first is None:
        return None
    if first.shape[1] <= _MOST_NUMBERS:
        return OwnNumbers()
    some = subsample(len(X), _ROWS_FOR_DIRECTIONS).to(X.device)
    return OwnNumbers(leading_directions(OwnNumbers()(problem, X, some), _DIRECTIONS))


def _equal(one, other):
    return one.shape == other.shape and torch.equal(one, other)
