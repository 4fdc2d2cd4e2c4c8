"""The training loss of single rows, from a criterion that was made for batches.

A batch's loss is ``sum_i a_i l_i / sum_i a_i v_i``: l_i is what :func:`loss_per_sample` says, with
the class weight of the row's label in it, v_i is that weight alone, a_i a sample weight.
"""

import copy

import torch
from torch import nn

# torch divides the batch's loss of these by the sum of its rows' class weights
_CLASS_WEIGHTED = (nn.CrossEntropyLoss, nn.NLLLoss)


def loss_per_sample(criterion, y_pred, codes):
    """Loss of every row, shape (n_samples,), differentiable.

    Parameters
    ----------
    criterion : torch.nn.Module
        With a ``reduction``; label smoothing and class weights are kept.
    y_pred : Tensor of shape (n_samples, n_classes)
        What the module returned: logits, or probabilities for ``NLLLoss`` (as in skorch).
    codes : LongTensor of shape (n_samples,)

    Raises
    ------
    ValueError
        If the criterion has no value per row.
    """
    criterion = unreduced(criterion)
    if isinstance(criterion, nn.NLLLoss):
        y_pred = torch.log(y_pred + torch.finfo(y_pred.dtype).eps)
    losses = criterion(y_pred, codes)
    if losses.shape != codes.shape[:1]:
        raise ValueError(
            f"criterion {criterion!r} gives shape {tuple(losses.shape)} for {len(codes)} rows. "
            "Use one with a value per row under reduction='none', such as CrossEntropyLoss."
        )
    return losses


def unreduced(criterion):
    """Copy of a criterion with ``reduction="none"``; ValueError if it has no loss per row."""
    name = type(criterion).__name__
    if class_weight(criterion) is not None and type(criterion) not in _CLASS_WEIGHTED:
        raise ValueError(
            f"{name}(weight=...) is not supported: what a batch is divided by is known for "
            "CrossEntropyLoss and NLLLoss only. Use sample_weight in fit."
        )
    if getattr(criterion, "ignore_index", -1) >= 0:
        raise ValueError(f"{name}(ignore_index=...) is not supported. Leave those rows out.")
    if getattr(criterion, "reduction", None) is None:
        raise ValueError(f"criterion {name} has no reduction, so no loss per row.")
    if criterion.reduction not in ("mean", "none"):
        raise ValueError(
            f"{name}(reduction={criterion.reduction!r}) is not supported: a batch's loss is a "
            "mean here. Use reduction='mean' and a larger lr."
        )
    criterion = copy.copy(criterion)
    criterion.reduction = "none"
    return criterion


def class_weight(criterion):
    """Weights that a criterion gives to classes, shape (n_classes,), or None."""
    return getattr(criterion, "weight", None)


def without_class_weight(criterion):
    """Copy of a criterion that knows no class weights."""
    if class_weight(criterion) is None:
        return criterion
    criterion = copy.deepcopy(criterion)
    criterion.weight = None
    return criterion
