"""Functions of rows in the place of probes, for methods without gradients."""

import torch

from sam_attribution._rows import n_rows_in


class FunctionProbe:
    """Reads values that a function computes from the rows themselves: they are the scores.

    With classes ``function(X)`` returns values of a batch for every label, (n, n_classes, k);
    without any ``function(X, y)`` returns those for the targets, (n, k).
    """

    rate = 1.0
    weighted = False
    rows = None
    steps = None
    epoch = None
    is_read = False

    def __init__(self, function):
        self.function = function

    def of_members(self, part):
        """The same: it holds for all rows alike."""
        return self

    def label_table(self, problem, X):
        """Values of rows `X` for each label that they might carry, (n, n_classes, k)."""
        return _checked(self.function(X), (n_rows_in(X), problem.n_classes))

    def given_label(self, problem, X, y):
        """Values of rows `X` with the labels `y`, (n, k)."""
        if problem.n_classes is None:
            return _checked(self.function(X, y), (n_rows_in(X),))
        return self.label_table(problem, X)[torch.arange(len(y), device=y.device), y]


def as_probes(found):
    """What a method returns for its probes, with a :class:`FunctionProbe` for each function."""
    if not isinstance(found, list):
        return found
    return [FunctionProbe(each) if callable(each) else each for each in found]


def _checked(values, sizes):
    """The values; a ValueError unless their shape has these sizes and one for the queries."""
    if values.shape[:-1] != sizes:
        expected = ", ".join(map(str, sizes))
        raise ValueError(
            f"a function in the place of a probe must return values of shape ({expected}, "
            f"n_queries) for {sizes[0]} rows, got {tuple(values.shape)}."
        )
    return values
