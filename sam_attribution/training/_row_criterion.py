"""The loss of single rows by any criterion: one number, of as many values as the row has.

A row's loss is what the criterion gives for a batch of this row alone: the mean over its labels,
tokens or pixels, without those whose target is ``ignore_index``, and by class weights if the
criterion has some. A row of which nothing counts has the loss 0. A batch's loss is the mean over
its rows, so that a long sequence counts as much as a short one.
"""

import torch
from torch import nn

from sam_attribution.training._losses import class_weight, shape_or_type, without_reduction
from sam_attribution.training._output_form import leaves_of
from sam_attribution.training._row_function import RowFunction, criterion_name
from sam_attribution.training._wrappers import inner_module

# one value for each pair of entries: a target of another shape would be broadcast
_BY_ENTRY = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.HuberLoss,
    nn.KLDivLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.PoissonNLLLoss,
    nn.SmoothL1Loss,
    nn.SoftMarginLoss,
)
_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
_OF_CODES = (*_OF_CLASSES, nn.MultiMarginLoss, nn.MultiLabelMarginLoss)


def row_losses(criterion, output, y):
    """Loss of every row, shape (n,), differentiable, in the dtype of the output.

    `output` is as the module gives it, `y` a tensor of shape (n, ...).
    """
    criterion = inner_module(criterion)
    dtype = leaves_of(output)[0].dtype
    y = _as_compared(criterion, output, y, dtype)
    has_reduction = getattr(criterion, "reduction", None) is not None
    values = (without_reduction(criterion) if has_reduction else criterion)(output, y)
    wanted = values.shape[:1] if torch.is_tensor(values) and values.ndim else None
    of_function = isinstance(criterion, RowFunction)
    if wanted != y.shape[:1] or (of_function and values.ndim > 1):
        raise ValueError(
            f"criterion {criterion_name(criterion)} gives {_what(values)} for {len(y)} rows. "
            + (
                f"Return a value per row, shape ({len(y)},): the mean over what a row has."
                if of_function
                else "Use one with a value per row or more under reduction='none', or a function "
                "(output, y) -> (n,)."
            )
        )
    if values.is_complex():
        raise ValueError(
            f"criterion {criterion_name(criterion)} gives complex numbers. Take their real part or "
            "absolute value."
        )
    return _mean_of_rows(criterion, values, y).to(dtype)


def check_probabilities(criterion, targets):
    """Raise a ValueError for targets that are no probabilities where `criterion` needs some.

    `criterion` is a class or an instance, `targets` an array.
    """
    kind = criterion if isinstance(criterion, type) else type(inner_module(criterion))
    of_classes = issubclass(kind, nn.CrossEntropyLoss) and targets.dtype.kind == "f"
    if not (of_classes or issubclass(kind, nn.BCELoss | nn.BCEWithLogitsLoss)) or not targets.size:
        return
    low, high = targets.min(), targets.max()
    if low < 0 or (high > 1 and not of_classes):
        raise ValueError(
            f"y must hold probabilities for criterion {kind.__name__}, from 0 to 1, got numbers "
            f"from {low:g} to {high:g}. Turn labels -1 and 1 into 0 and 1."
        )


def ignored_target(criterion):
    """The target that a criterion of classes leaves out, or None for any other criterion."""
    criterion = inner_module(criterion)
    return criterion.ignore_index if isinstance(criterion, _OF_CLASSES) else None


def _what(values):
    return shape_or_type(values) if torch.is_tensor(values) else type(values).__name__


def _as_compared(criterion, output, y, dtype):
    """The target in the dtype and, entry by entry, in the shape of the output."""
    if isinstance(criterion, _OF_CODES) and not y.is_floating_point():
        return y.long()
    if isinstance(criterion, _BY_ENTRY):
        return _shaped(criterion, output, y).to(dtype)
    return y.to(dtype) if y.is_floating_point() else y


def _shaped(criterion, output, y):
    name = criterion_name(criterion)
    if not torch.is_tensor(output):
        raise TypeError(
            f"criterion {name} needs one tensor, but module gives a {type(output).__name__}. "
            "Pass a function (output, y) -> (n,) that reads it."
        )
    if _without_ones(output.shape) != _without_ones(y.shape):
        raise ValueError(
            f"criterion {name} compares output and y entry by entry, but the output has shape "
            f"{tuple(output.shape)} and y {tuple(y.shape)}. Give y the shape of the output."
        )
    return y.reshape(output.shape)


def _without_ones(shape):
    """Number of rows, and the sizes of a row that are not 1."""
    return shape[:1] + tuple(size for size in shape[1:] if size != 1)


def _mean_of_rows(criterion, values, y):
    values = values.reshape(len(values), -1)
    if not isinstance(criterion, _OF_CLASSES) or y.is_floating_point():
        return values.mean(1)
    shares = _shares(criterion, y).reshape(values.shape).to(values.dtype).sum(1)
    return values.sum(1) / torch.where(shares == 0, 1.0, shares)


def _shares(criterion, y):
    """Weight of each entry in its row's mean, 0 where the target is ``ignore_index``."""
    counted, weight = y != criterion.ignore_index, class_weight(criterion)
    if weight is None:
        return counted
    if y.ndim == 1:
        raise ValueError(
            f"{type(criterion).__name__}(weight=...) has no effect where a row has one label, as "
            "the row's loss is divided by the weight. Use sample_weight in fit, or SAMClassifier."
        )
    return counted * weight[torch.where(counted, y, 0)]
