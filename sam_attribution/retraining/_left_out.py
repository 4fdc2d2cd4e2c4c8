"""Which rows are left out together, and what each row gets of what their absence does."""

import numpy as np
import torch


class LeftOut:
    """Groups of rows to leave out, each a model to retrain; model 0 leaves out none.

    Its slices are the row weights that ``train_many`` takes.

    Parameters
    ----------
    names : list of str
        Of the groups; its own, for messages, tell what each model is trained without.
    groups : list of ndarray
        Positions of the rows in each.
    n_samples : int
    """

    def __init__(self, names, groups, n_samples):
        self.names = ["with every row", *(f"without {name}" for name in names)]
        self.positions = [np.array([], dtype=int), *groups]
        self.n_samples = n_samples

    def __len__(self):
        return len(self.positions)

    def __getitem__(self, part):
        absent = self.positions[part]
        weights = torch.ones(len(absent), self.n_samples, dtype=torch.float64)
        for model, rows in enumerate(absent):
            weights[model, rows] = 0.0
        return weights

    def some(self, models):
        """The same with the models of the given numbers only."""
        part = object.__new__(LeftOut)
        part.names = [self.names[model] for model in models]
        part.positions = [self.positions[model] for model in models]
        part.n_samples = self.n_samples
        return part

    def per_row(self, effects):
        """Shares of rows in the effects of their groups.

        Parameters
        ----------
        effects : Tensor of shape (n_groups, k)

        Returns
        -------
        Tensor of shape (n_samples, k)
            The effect of a row's group, divided by its number of rows; the mean over its groups
            if it is in several, NaN if it is in none.
        """
        total = effects.new_zeros(self.n_samples, effects.shape[1])
        count = effects.new_zeros(self.n_samples, 1)
        for rows, effect in zip(self.positions[1:], effects, strict=True):
            total[rows] += effect / len(rows)
            count[rows] += 1
        return total / count


def left_out(problem, rows, groups):
    """What `rows` and `groups` of a method ask for, checked.

    Parameters
    ----------
    problem : Problem
        Rows that it never trained on are left out of nothing.
    rows : array-like of int or None
        Rows to leave out one at a time.
    groups : array-like of shape (n_samples,) or bool (n_groups, n_samples), or None

    Returns
    -------
    LeftOut
    """
    if problem.selected is not None:
        raise ValueError('retraining moves every parameter: use parameters="all" with it.')
    visited = np.ones(len(problem.y), dtype=bool)
    if problem.visited is not None:
        visited = problem.visited.cpu().numpy()
    if groups is None:
        found = [np.array([row]) for row in _checked_rows(rows, len(visited)) if visited[row]]
        return LeftOut([f"row {row[0]}" for row in found], found, len(visited))
    if rows is not None:
        raise ValueError("rows and groups were both given. Leave out rows, or groups of them.")
    names, members = _members(groups, len(visited))
    found = [np.flatnonzero(member & visited) for member in members]
    for name, group in zip(names, found, strict=True):
        _check_group(name, len(group), visited.sum())
    return LeftOut(names, found, len(visited))


def _checked_rows(rows, n_samples):
    if rows is None:
        return np.arange(n_samples)
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise ValueError(f"rows must be a list of positions, got {rows!r}.")
    if outside := rows[(rows < 0) | (rows >= n_samples)].tolist():
        raise ValueError(f"rows must be positions in 0..{n_samples - 1}, got {outside[0]}.")
    return np.unique(rows)


def _members(groups, n_samples):
    """Names of groups, and which rows are in each, shape (n_groups, n_samples)."""
    groups = np.asarray(groups)
    if groups.dtype == bool and groups.ndim == 2 and groups.shape[1] == n_samples:
        return [f"group {number}" for number in range(len(groups))], groups
    if groups.dtype == bool or groups.shape != (n_samples,):
        raise ValueError(
            f"groups must be labels of shape ({n_samples},) or a bool array of shape (n_groups, "
            f"{n_samples}), for the rows trained on, got {groups.dtype} of shape {groups.shape}."
        )
    labels = np.unique(groups)
    return [f"group {label}" for label in labels.tolist()], groups == labels[:, None]


def _check_group(name, size, n_trained):
    if size == 0:
        raise ValueError(f"groups: {name} holds none of the rows trained on.")
    if size == n_trained:
        raise ValueError(
            f"groups: {name} holds all {n_trained} rows trained on, so that nothing would be left "
            "to train on. Make at least two groups."
        )
