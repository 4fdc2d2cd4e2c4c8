"""The training loss of one row with a real target: no labels, so no table of them."""

import copy

from torch import nn

from sam_attribution.problem._row_loss import derivative_along
from sam_attribution.training import loss_per_sample


class TargetRows:
    """Any loss of a prediction and a real number, one output per row.

    Parameters
    ----------
    criterion : torch.nn.Module, default=None
        With a ``reduction``, see ``training.loss_per_sample``. ``None`` is the squared error
        ``(f - y)^2``, without a half.

    Attributes
    ----------
    unit : str
        What its values are counted in.
    """

    class_weight = None

    def __init__(self, criterion=None):
        self.criterion = nn.MSELoss() if criterion is None else criterion
        named = f"units of {type(criterion).__name__}"
        self.unit = "squared units of y" if criterion is None else named

    def predicted(self, output):
        """What evaluation functions are given: predictions, shape (n,)."""
        return output[:, 0]

    def to_logits(self, output):
        """There are none: ValueError."""
        raise ValueError(
            'evaluation="margin" needs classes, but this is a regression. Use "loss" or a '
            "callable (prediction, y) -> values."
        )

    def in_double_precision(self):
        """The same loss in float64, whatever numbers its criterion holds."""
        double = copy.copy(self)
        double.criterion = copy.deepcopy(self.criterion).double()
        return double

    def per_sample(self, output, y):
        """Training loss of every row, shape (n,), from the module's output (n, 1)."""
        return loss_per_sample(self.criterion, self.predicted(output), y)

    def evaluated(self, output, y):
        """Loss of every row as asked of validation rows: the same."""
        return self.per_sample(output, y)

    def along(self, output, tangents, y):
        """Change of each row's loss along tangents (n, 1, k) of its output, shape (n, k)."""
        return derivative_along(self.per_sample, output, tangents, y)
