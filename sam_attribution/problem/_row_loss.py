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

from sam_attribution.training import class_weight, loss_per_sample, without_class_weight


class CrossEntropyRows:
    """Cross-entropy, with label smoothing: the derivative in the logits is closed form.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        As in ``torch.nn.CrossEntropyLoss``.
    class_weight : Tensor of shape (n_classes,), optional
        Its ``weight``.
    """

    unit = "nats"

    def __init__(self, label_smoothing=0.0, class_weight=None):
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    def to_logits(self, output):
        """Logits: the module's output itself."""
        return output

    def in_double_precision(self):
        """The same loss in float64."""
        weight = self.class_weight
        return CrossEntropyRows(self.label_smoothing, None if weight is None else weight.double())

    def predicted(self, output):
        """Argument of evaluation functions: the logits."""
        return output

    def per_sample(self, logits, y):
        """Training loss of every row, shape (n,), in nats if there are no class weights."""
        return self._loss(logits, y, weight=self.class_weight)

    def evaluated(self, logits, y):
        """Loss of every validation row: without class weights, in nats."""
        return self._loss(logits, y)

    def _loss(self, logits, y, **weight):
        return nn.functional.cross_entropy(
            logits, y, reduction="none", label_smoothing=self.label_smoothing, **weight
        )

    def label_table(self, logits, tangents):
        """Change of each row's loss along logit tangents, for every label.

        Parameters
        ----------
        logits : Tensor of shape (n, n_classes)
        tangents : Tensor of shape (n, n_classes, k)

        Returns
        -------
        Tensor of shape (n, n_classes, k)
            Entry (i, c, j): derivative of row i's loss, were its label c, along tangent j.
        """
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
        """Change of each row's loss along logit tangents, for the label it has.

        Parameters
        ----------
        logits : Tensor of shape (n, n_classes)
        tangents : Tensor of shape (n, n_classes, k)
        y : LongTensor of shape (n,)

        Returns
        -------
        Tensor of shape (n, k)
            The entries of :meth:`label_table` at `y`.
        """
        return self.label_table(logits, tangents)[torch.arange(len(y), device=y.device), y]


class GenericRows:
    """Any per-row loss: the derivative in the logits comes from autodiff, label by label.

    Parameters
    ----------
    criterion : torch.nn.Module
        With a ``reduction``, see ``training.loss_per_sample``; of ``NLLLoss`` the module puts
        out probabilities (as skorch wants).
    """

    unit = "nats"

    def __init__(self, criterion):
        self.criterion = criterion
        self.class_weight = class_weight(criterion)
        self.probabilities = isinstance(criterion, nn.NLLLoss)

    def in_double_precision(self):
        """The same loss in float64, whatever numbers its criterion holds."""
        return GenericRows(copy.deepcopy(self.criterion).double())

    def per_sample(self, output, y):
        """Training loss of every row, shape (n,)."""
        return loss_per_sample(self.criterion, output, y)

    def evaluated(self, output, y):
        """Loss of every validation row: without class weights."""
        return loss_per_sample(without_class_weight(self.criterion), output, y)

    def to_logits(self, output):
        """Logits of the module's output."""
        if not self.probabilities:
            return output
        return torch.log(output + torch.finfo(output.dtype).eps)

    def predicted(self, output):
        """Argument of evaluation functions: the module's output itself."""
        return output

    def label_table(self, logits, tangents):
        """As :meth:`CrossEntropyRows.label_table`, at the price of n_classes backward passes."""
        labels = torch.arange(logits.shape[1], device=logits.device)
        columns = [self.along(logits, tangents, label.expand(len(logits))) for label in labels]
        return torch.stack(columns, dim=1)

    def along(self, output, tangents, y):
        """As :meth:`CrossEntropyRows.along`, at the price of one backward pass."""
        return _along(gradient_in_output(self.per_sample, output, y), tangents)


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
        Unit of the loss.
    """

    class_weight = None

    def __init__(self, criterion=None):
        self.criterion = nn.MSELoss() if criterion is None else criterion
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

    def in_double_precision(self):
        """The same loss in float64, whatever numbers its criterion holds."""
        double = copy.copy(self)
        double.criterion = copy.deepcopy(self.criterion).double()
        return double

    def per_sample(self, output, y):
        """Training loss of every row, shape (n,), from the module's output (n, 1)."""
        return loss_per_sample(self.criterion, self.predicted(output), y)

    def evaluated(self, output, y):
        """Loss of every validation row: the same as :meth:`per_sample`."""
        return self.per_sample(output, y)

    def along(self, output, tangents, y):
        """Change of each row's loss along tangents (n, 1, k) of its output, shape (n, k)."""
        return _along(gradient_in_output(self.per_sample, output, y), tangents)


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
    each = torch.eye(output.shape[1], dtype=output.dtype, device=output.device)
    each = each.expand(len(output), -1, -1)
    return row_loss.label_table(output, each) if y is None else row_loss.along(output, each, y)


def _along(gradient, tangents):
    """Products of each row's gradient (n, c) with tangents (n, c, k) of its output, (n, k)."""
    return torch.einsum("nc,nck->nk", gradient, tangents)
