"""Training loss of single rows, from a criterion that was made for batches.

The loss of a batch is ``sum_i a_i l_i / sum_i a_i v_i``: l_i is the value of
:func:`loss_per_sample`, which includes the class weight of the row's label, v_i is that class
weight, and a_i the sample weight.
"""

import copy
from types import MethodType

import torch
from torch import nn

from sam_attribution.training._row_function import criterion_name
from sam_attribution.training._wrappers import inner_module

# torch divides the batch's loss of these by the sum of its rows' class weights
_CLASS_WEIGHTED = (nn.CrossEntropyLoss, nn.NLLLoss)


def loss_per_sample(criterion, y_pred, targets):
    """Loss of every row, shape (n_samples,), differentiable.

    `y_pred` are logits, or probabilities for ``NLLLoss`` (as in skorch), shape
    (n_samples, n_classes), with label codes as `targets`; or the predictions of a regressor, shape
    (n_samples,), with real numbers. Label smoothing and class weights of the criterion are kept.
    """
    criterion = unreduced(criterion)
    if isinstance(criterion, nn.NLLLoss):
        y_pred = torch.log(y_pred + torch.finfo(y_pred.dtype).eps)
    losses = criterion(y_pred, targets)
    if losses.shape != targets.shape[:1]:
        raise ValueError(
            f"criterion {criterion!r} gives shape {tuple(losses.shape)} for {len(targets)} rows. "
            "Use one with a value per row under reduction='none', such as CrossEntropyLoss or, "
            "for a regressor, MSELoss."
        )
    return losses.to(y_pred.dtype)


def unreduced(criterion):
    """Copy of a criterion with ``reduction="none"``; ValueError if it has no loss per row."""
    criterion = inner_module(criterion)
    check_criterion(criterion)
    name = type(criterion).__name__
    if class_weight(criterion) is not None and type(criterion) not in _CLASS_WEIGHTED:
        raise ValueError(
            f"{name}(weight=...) is not supported: class weights work with CrossEntropyLoss and "
            "NLLLoss only. Use sample_weight in fit."
        )
    if getattr(criterion, "reduction", None) is None:
        raise ValueError(f"criterion {name} has no reduction, so no loss per row.")
    return without_reduction(criterion)


def without_reduction(criterion):
    """Criterion that gives the values of a batch as they are: a copy, or the given one."""
    if criterion.reduction == "none":
        return criterion
    criterion = copy.copy(criterion)
    criterion.reduction = "none"
    forward = vars(criterion).get("forward")  # accelerate puts one on the instance
    if isinstance(forward, MethodType):
        criterion.forward = MethodType(forward.__func__, criterion)
    return criterion


def check_criterion(criterion, n_classes=None):
    """Raise a ValueError for a criterion that silently leaves out rows or is no mean."""
    if not isinstance(criterion, nn.Module):
        return
    name = type(criterion).__name__
    if getattr(criterion, "ignore_index", -1) >= 0:
        raise ValueError(f"{name}(ignore_index=...) is not supported. Leave those rows out.")
    check_mean(criterion)
    if n_classes is not None and type(criterion) in _CLASS_WEIGHTED:
        _check_class_weight(class_weight(criterion), n_classes)


def check_mean(criterion):
    """Raise a ValueError for a criterion that is no mean, or smooths labels by no share."""
    if getattr(criterion, "reduction", "mean") not in ("mean", "none"):
        raise ValueError(
            f"{type(criterion).__name__}(reduction={criterion.reduction!r}) is not supported: a "
            "batch's loss is a mean here. Use reduction='mean' and a larger lr."
        )
    if not 0 <= getattr(criterion, "label_smoothing", 0.0) <= 1:
        raise ValueError(
            f"criterion__label_smoothing must be from 0 to 1, got {criterion.label_smoothing}."
        )


def check_reduction(criterion):
    """Raise a ValueError for the criterion of a net that gives no single loss for a batch."""
    if getattr(criterion, "reduction", "mean") == "none":
        raise ValueError(
            f"criterion__reduction='none' of {type(criterion).__name__} gives a loss per row, "
            "but training needs one per batch. Use reduction='mean': the loss of each row is "
            "computed without it."
        )


def checked_loss(criterion, loss):
    """The loss of a batch; a TypeError unless it is one number in a tensor."""
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise TypeError(
            f"criterion {type(criterion).__name__} must return one number for a batch, as a "
            f"tensor, got {shape_or_type(loss)}."
        )
    return loss


def check_graph(module, criterion, y_pred, loss):
    """Raise a ValueError unless a batch's loss can be differentiated by the module's parameters."""
    if not y_pred.requires_grad:
        raise ValueError(
            f"module {type(inner_module(module)).__name__} gives an output that does not depend "
            "on its parameters for autograd, so it cannot be trained: forward runs under "
            "torch.no_grad() or inference_mode(), or detaches its output. Remove that."
        )
    if not loss.requires_grad:
        raise ValueError(
            f"criterion {criterion_name(criterion)} gives a loss that does not depend on the "
            "module's output for autograd: it works under torch.no_grad(), or detaches the "
            "output. Remove that."
        )


def check_weight_argument(weight):
    """Raise an error for class weights that torch could not take."""
    if weight is not None and not isinstance(weight, torch.Tensor):
        raise TypeError(
            "criterion__weight must be a tensor with a weight for each of classes_, got "
            f"{type(weight).__name__}. Use torch.tensor(...), or sample_weight in fit."
        )
    if weight is not None and weight.requires_grad:
        raise ValueError("criterion__weight must not require a gradient. Pass weight.detach().")


def check_one_tensor(output):
    """Raise a TypeError for an output with more than the criterion takes."""
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"module must return a tensor and nothing else, got {_described(output)}. "
            "Let forward return the logits alone, or an object that has them as .logits, or put a "
            "module around it that does."
        )


def check_output(criterion, output):
    """Raise if `criterion` cannot compute a loss from the module's output."""
    check_one_tensor(output)
    if isinstance(criterion, nn.NLLLoss) and bool((output < 0).any()):
        raise ValueError(
            "criterion=NLLLoss needs a module that ends in a Softmax (skorch takes the "
            "logarithm), got negative outputs. Use CrossEntropyLoss for logits."
        )


def _check_class_weight(weight, n_classes):
    if weight is None:
        return
    if weight.shape != (n_classes,):
        raise ValueError(
            f"criterion__weight must have shape ({n_classes},), a weight for each of classes_, "
            f"got {tuple(weight.shape)}."
        )
    if not weight.is_floating_point():
        raise TypeError(
            f"criterion__weight must hold floating-point numbers, got {weight.dtype}. Use "
            "weight.float()."
        )
    if not torch.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError(
            f"criterion__weight must be finite, not negative and not all 0, got {weight.tolist()}."
        )


def class_weight(criterion):
    """Weights that a criterion gives to classes, shape (n_classes,), or None."""
    return getattr(criterion, "weight", None)


def divides_by_class_weight(criterion):
    """True for a criterion whose class weights are in the divisor of a batch's loss."""
    return isinstance(criterion, _CLASS_WEIGHTED)


def without_class_weight(criterion):
    """Copy of a criterion without class weights."""
    if class_weight(criterion) is None:
        return criterion
    criterion = copy.deepcopy(criterion)
    criterion.weight = None
    return criterion


def _described(output):
    """Type of an output, and the shapes of the tensors in a tuple or list."""
    kind = type(output).__name__
    if not isinstance(output, tuple | list):
        return kind
    return f"a {kind} of {', '.join(map(shape_or_type, output))}"


def shape_or_type(output):
    """Shape of an output, or its type if it has none, for error messages."""
    return f"shape {tuple(output.shape)}" if hasattr(output, "shape") else type(output).__name__
