"""The training loss of one row with a real target: no labels, so no table of them."""

from functools import partial

from torch import nn

from sam_attribution.problem._row_loss import derivative_along

_squared_error = partial(nn.functional.mse_loss, reduction="none")


class TargetRows:
    """Any loss of a prediction and a real number, one output per row.

    Parameters
    ----------
    loss : callable, default=squared error
        ``(prediction, y) -> (n,)``, both of shape (n,). The squared error is ``(f - y)^2``,
        without a half.
    unit : str, default="squared units of y"
        What its values are counted in.
    """

    class_weight = None

    def __init__(self, loss=_squared_error, unit="squared units of y"):
        self.loss = loss
        self.unit = unit

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
        """The same loss: it holds no numbers."""
        return self

    def per_sample(self, output, y):
        """Training loss of every row, shape (n,), from the module's output (n, 1)."""
        return self.loss(self.predicted(output), y)

    def evaluated(self, output, y):
        """Loss of every row as asked of validation rows: the same."""
        return self.per_sample(output, y)

    def along(self, output, tangents, y):
        """Change of each row's loss along tangents (n, 1, k) of its output, shape (n, k)."""
        return derivative_along(self.per_sample, output, tangents, y)
