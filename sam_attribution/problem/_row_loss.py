"""The training loss of each row, and its derivatives in the module's output for that row.

A classifier's row has a derivative for every label that it might carry; a real target has no
other to compare with.

Class weights v act twice, as in torch: a row's loss l_i has that of its label in it, and a batch's
loss is ``sum_i l_i / sum_i v_{y_i}``. Were the row's label another, its l_i would be another one;
the denominator stays, as it does when a row goes.
"""

import copy

import torch
from torch import nn

from sam_attribution.training import (
    check_one_tensor,
    class_weight,
    loss_per_sample,
    without_class_weight,
)


class RowLoss:
    """The loss of a row by a criterion; its derivative in the output comes from autodiff.

    `criterion` has a ``reduction``, see ``training.loss_per_sample``.
    """

    def __init__(self, criterion):
        self.criterion = criterion

    def in_double_precision(self):
        """The same loss in float64, whatever numbers its criterion holds."""
        double = copy.copy(self)
        double.criterion = copy.deepcopy(self.criterion).double()
        return double

    def check_output(self, output):
        """Raise a TypeError for an output with more than the criterion takes."""
        check_one_tensor(output)

    def predicted(self, output):
        """Argument of evaluation functions: the module's output itself."""
        return output

    def as_given(self, output):
        """The module's output as the net's ``get_loss`` takes it."""
        return output

    def per_sample(self, output, y):
        """Training loss of every row, shape (n,), in the unit `unit` if no class has a weight."""
        return loss_per_sample(self.criterion, self.predicted(output), y)

    def evaluated(self, output, y):
        """Loss of every validation row: without class weights."""
        return self.per_sample(output, y)

    def along(self, output, tangents, y):
        """Change of each row's loss along tangents (n, c, k) of its output (n, c), for its label.

        Shape (n, k): the entries of ``label_table`` at `y`. One backward pass.
        """
        return _along(self.in_output(output, y), tangents)

    def in_output(self, output, y):
        """Gradient of each row's loss in its output (n, c), for its label, (n, c)."""
        return gradient_in_output(self.per_sample, output, y)

    def in_output_by_formula(self, output, y):
        """The same, to be differentiated in the output; None without a formula."""
        return None


class GenericRows(RowLoss):
    """Any loss of logits, label by label; of ``NLLLoss`` the module puts out probabilities."""

    unit = "nats"

    @property
    def class_weight(self):
        """Weights of the classes, shape (n_classes,), or None."""
        return class_weight(self.criterion)

    def evaluated(self, output, y):
        return loss_per_sample(without_class_weight(self.criterion), output, y)

    def to_logits(self, output):
        """Logits of the module's output."""
        if not isinstance(self.criterion, nn.NLLLoss):
            return output
        return torch.log(output + torch.finfo(output.dtype).eps)

    def label_table(self, logits, tangents):
        """Change of each row's loss along logit tangents, for every label.

        Entry (i, c, j) of shape (n, n_classes, k): derivative of row i's loss, were its label c,
        along tangent j. One backward pass per class.
        """
        labels = torch.arange(self.to_logits(logits[:1]).shape[1], device=logits.device)
        columns = [self.along(logits, tangents, label.expand(len(logits))) for label in labels]
        return torch.stack(columns, dim=1)


class CrossEntropyRows(GenericRows):
    """Cross-entropy, with label smoothing: the derivative in the logits is closed form."""

    def __init__(self, label_smoothing=0.0, class_weight=None):
        settings = {"label_smoothing": label_smoothing, "reduction": "none"}
        super().__init__(nn.CrossEntropyLoss(class_weight, **settings))
        self.label_smoothing = label_smoothing

    def label_table(self, logits, tangents):
        # relative to the likeliest label: p'dz - dz_c would cancel where p_c is nearly 1
        likeliest = logits.argmax(1)[:, None, None].expand(-1, 1, tangents.shape[2])
        relative = tangents - tangents.gather(1, likeliest)
        table = (logits.softmax(1)[:, :, None] * relative).sum(1, keepdim=True) - relative
        if self.class_weight is not None:
            table = self.class_weight[:, None] * table
        smoothing = self.label_smoothing
        # the smoothed part is weighted by the class it is given to, not by the row's own
        return (1 - smoothing) * table + smoothing * table.mean(1, True) if smoothing else table

    def along(self, logits, tangents, y):
        return self.label_table(logits, tangents)[torch.arange(len(y), device=y.device), y]

    def in_output(self, output, y):
        return self.along(output, _each_of(output), y)

    def in_output_by_formula(self, output, y):
        if self.label_smoothing or self.class_weight is not None:
            return None
        own = torch.zeros_like(output).scatter_(1, y[:, None], 1.0)
        return output.softmax(1) - own


class TargetRows(RowLoss):
    """Any loss of a prediction and a real number, one output per row.

    Without a criterion it is the squared error ``(f - y)^2``, without a half.
    """

    class_weight = None

    def __init__(self, criterion=None):
        super().__init__(nn.MSELoss() if criterion is None else criterion)
        named = f"units of {type(criterion).__name__}"
        self.unit = "squared units of y" if criterion is None else named

    def predicted(self, output):
        """Argument of evaluation functions: predictions, shape (n,)."""
        return output[:, 0]

    def to_logits(self, output):
        """Raise a ValueError: a regression has no logits."""
        raise ValueError(
            'evaluation="margin" needs classes, but this is a regression. Use "loss" or a '
            "callable (prediction, y) -> values."
        )


def gradient_in_output(per_sample, output, y):
    """Gradient of a sum of ``per_sample(output, y)`` in the output, by autodiff; (n, n_outputs)."""
    leaf = output.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(per_sample(leaf, y).sum(), leaf)[0]


def loss_in_output(row_loss, output, y=None):
    """Gradient of the training loss in each row's output, by the loss's own rule.

    Shape (n, n_outputs) with `y`; (n, n_classes, n_outputs) for every label without. The rule loses
    no digits where a prediction is nearly certain, as differences of probabilities would.
    """
    if y is not None:
        return row_loss.in_output(output, y)
    return row_loss.label_table(output, _each_of(output))


def _each_of(output):
    """A tangent along every entry of each row's output, (n, c, c)."""
    each = torch.eye(output.shape[1], dtype=output.dtype, device=output.device)
    return each.expand(len(output), -1, -1)


def _along(gradient, tangents):
    """Products of each row's gradient (n, c) with tangents (n, c, k) of its output, (n, k)."""
    return torch.einsum("nc,nck->nk", gradient, tangents)
