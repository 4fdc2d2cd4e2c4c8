"""Groups of rows that are left out together, and the share of each row in their effect."""

from dataclasses import dataclass

import numpy as np
import torch

from sam_attribution._as_arrays import values_of
from sam_attribution._validation import classes_of
from sam_attribution.methods import Method


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Models to retrain, each without the rows at some `positions`; model 0 leaves out none.

    Slices are row weights for ``train_many``; `names` are phrases such as "without row 3".
    """

    names: list[str]
    positions: list[np.ndarray]
    n_samples: int

    def __len__(self):
        return len(self.positions)

    def __getitem__(self, part):
        absent = self.positions[part]
        weights = torch.ones(len(absent), self.n_samples, dtype=torch.float64)
        for model, rows in enumerate(absent):
            weights[model, rows] = 0.0
        return weights

    def some(self, models):
        """The models of the given numbers only, a :class:`LeftOut`."""
        names = [self.names[model] for model in models]
        positions = [self.positions[model] for model in models]
        return LeftOut(names, positions, self.n_samples)

    def per_row(self, effects):
        """Shares of rows in the effects of their groups: (n_groups, k) to (n_samples, k).

        The effect of a row's group, divided by its number of rows; the mean over its groups if it
        is in several, NaN if it is in none.
        """
        total = effects.new_zeros(self.n_samples, effects.shape[1])
        count = effects.new_zeros(self.n_samples, 1)
        for rows, effect in zip(self.positions[1:], effects, strict=True):
            total[rows] += effect / len(rows)
            count[rows] += 1
        return total / count


def check_whole(problem):
    """Raise a ValueError for a problem in which a part of the parameters is attributed."""
    if problem.selected is not None:
        raise ValueError('retraining moves every parameter: use parameters="all" with it.')


class LeavesOut(Method):
    """A method that leaves out ``rows``, or ``groups`` of them."""

    has_probes = False

    def check_request(self, n_samples):
        super().check_request(n_samples)
        self._check_sets(*_asked(self.rows, self.groups, n_samples), n_samples)

    def _check_sets(self, names, members, n_rows):
        """Raise a ValueError for sets of rows that cannot be left out of so many."""
        if self.groups is not None:
            _check_groups(names, members, n_rows)

    def check_model(self, problem, optimizer):
        check_whole(problem)

    def left_out(self, problem):
        """Return the :class:`LeftOut` that `rows` and `groups` ask for, checked.

        Positions are among the problem's rows, names by positions among the rows given to ``fit``.
        Rows that were not trained on are not left out, nor are groups of such rows.
        """
        check_whole(problem)
        visited = np.ones(len(problem.y), dtype=bool)
        if problem.visited is not None:
            visited = problem.visited.cpu().numpy()
        positions, n_given = _given(problem)
        place = np.full(n_given, -1)  # among the problem's rows
        place[positions[visited]] = np.flatnonzero(visited)
        names, members = _asked(self.rows, self.groups, n_given)
        found = [place[member][place[member] >= 0] for member in members]
        self._check_sets(names, found, visited.sum())
        some = [number for number, group in enumerate(found) if len(group)]
        names = ["with every row", *(f"without {names[number]}" for number in some)]
        return LeftOut(names, [np.arange(0), *(found[number] for number in some)], len(visited))


def _given(problem):
    """Positions of a problem's rows among the rows given, and the number of the latter."""
    if problem.positions is None:
        return np.arange(len(problem.y)), len(problem.y)
    return problem.positions.cpu().numpy(), problem.n_given


def _asked(rows, groups, n_samples):
    """Names and positions of each set of rows to leave out, among the rows given."""
    if groups is None:
        checked = _checked_rows(rows, n_samples)
        return [f"row {row}" for row in checked], list(checked[:, None])
    if rows is not None:
        raise ValueError("rows and groups were both given. Leave out rows, or groups of them.")
    names, members = _members(groups, n_samples)
    for name, member in zip(names, members, strict=True):
        if not member.any():
            raise ValueError(f"groups: {name} holds no row.")
    return names, [np.flatnonzero(member) for member in members]


def _checked_rows(rows, n_samples, argument="rows"):
    if rows is None:
        return np.arange(n_samples)
    rows = _as_array(rows)
    if rows.dtype == bool and rows.shape == (n_samples,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise ValueError(
            f"{argument} must be a list of positions or a mask of shape ({n_samples},), of one row "
            f"at least, got {rows.dtype} of shape {rows.shape}."
        )
    if outside := rows[(rows < 0) | (rows >= n_samples)].tolist():
        raise ValueError(f"{argument} must be positions in 0..{n_samples - 1}, got {outside[0]}.")
    numbers, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"{argument} lists row {numbers[counts > 1][0]} twice. Give each position once; a mask "
            "must be of bool."
        )
    return rows


def _members(groups, n_samples):
    """Names of groups, and a mask of the rows in each, shape (n_groups, n_samples)."""
    groups = _as_array(groups)
    if _holds_positions(groups):
        groups = np.array([_mask(rows, n_samples, k) for k, rows in enumerate(groups)])
    if groups.dtype == bool and groups.ndim == 2 and groups.shape[1] == n_samples:
        return [f"group {number}" for number in range(len(groups))], groups
    if groups.dtype == bool or groups.shape != (n_samples,):
        raise ValueError(
            f"groups must be labels of shape ({n_samples},) or a bool array of shape (n_groups, "
            f"{n_samples}), or lists of positions, got {groups.dtype} of shape {groups.shape}."
        )
    if (groups != groups).any():
        raise ValueError("groups must hold a label for each row, got NaN. Give it one of its own.")
    labels = classes_of(groups, "groups")
    return [f"group {label}" for label in labels.tolist()], groups == labels[:, None]


def _as_array(values):
    """An array; of objects for lists of different lengths."""
    try:
        return np.asarray(values_of(values, "rows or groups"))
    except ValueError:
        found = np.empty(len(values), dtype=object)
        for number, value in enumerate(values):
            found[number] = value
        return found


def _holds_positions(groups):
    """True for lists of positions, False for a label per row or a mask per group."""
    kinds = list | tuple | range | np.ndarray
    several = groups.dtype == object and groups.ndim and all(isinstance(g, kinds) for g in groups)
    return several or (groups.ndim == 2 and groups.dtype.kind in "iu")


def _mask(rows, n_samples, number):
    """Mask of the rows that a group lists by their positions."""
    found = _checked_rows(rows, n_samples, f"groups: group {number}")
    return np.isin(np.arange(n_samples), found)


def _check_groups(names, groups, n_trained):
    for name, group in zip(names, groups, strict=True):
        if len(group) == n_trained:
            raise ValueError(
                f"groups: {name} holds all {n_trained} rows trained on, and none would be left "
                "to train on. Make at least two groups."
            )
