"""Check that training ended at numbers: the last step has no step after it that would tell."""

import math
from contextlib import contextmanager

import torch
from skorch.dataset import unpack_data
from torch import nn

from sam_attribution._warnings import warn
from sam_attribution.training._accelerated import scaler_of
from sam_attribution.training._data import IndexedDataset
from sam_attribution.training._flat_module import FlatModule
from sam_attribution.training._unit_size import remedy_for_divergence

_FAR = 10.0  # times the loss of guessing: memorised wrong labels stay below


class Diverged(ValueError):
    """The loss or gradient of a step, or an output after the last one, is not finite."""


def check_end(net, X, y):
    """Raise a ValueError unless the weights, and the loss of the last batch, are finite.

    Code of the user that cannot read or evaluate the batch does not end a training that is over:
    only the weights are checked then.
    """
    if not net.trajectory_.schedule:
        return
    flat = FlatModule(net.module_)
    batch = _last_batch(net, X, y)
    _finite(net, "largest weight", flat.vector().abs().max(), batch)
    # a scaler repeats what overflows; a broken run may need more than its rows
    if batch is not None and scaler_of(net) is None and not net.trajectory_.broken:
        loss = _loss(net, flat, batch)
        if loss is not None:
            _finite(net, "loss", loss, batch)
            _warn_if_blown_up(net, loss, batch)


def is_far_above_guessing(loss, criterion, n_classes):
    """True if a mean cross-entropy is more than ten times that of equal probabilities."""
    if not isinstance(criterion, nn.CrossEntropyLoss) or not n_classes:
        return False
    return loss > _FAR * math.log(max(2, n_classes))


def _warn_if_blown_up(net, loss, batch):
    """Warn if the loss of the last batch is far above that of guessing."""
    n_classes = len(getattr(net, "classes_", ()))
    guessing = math.log(max(2, n_classes))
    # where training mode did better, batch norm's statistics are not those of the weights yet
    learned = net.history[-1].get("train_loss", guessing) < guessing
    if is_far_above_guessing(loss, getattr(net, "criterion_", None), n_classes) and not learned:
        warn(
            f"The loss of the last batch is {loss:.3g} after training, far above the "
            f"{guessing:.2g} of guessing among {n_classes} classes. Training diverged, or it did "
            f"not recover from a bad start. {_remedy(net, batch)}"
        )


def _last_batch(net, X, y):
    """``(X, y)`` of the last step; None if the iterator or the dataset does not tell."""
    rows = net.trajectory_.schedule[-1].indices
    if rows is None:
        return None
    collate = net.get_params_for("iterator_train").get("collate_fn")
    try:
        dataset = IndexedDataset(net.get_dataset(X, y), collate)
        dataset.set_epoch(len(net.history) - 1)
        batch = dataset.batch(rows)
        return unpack_data(batch.to(net.module_device))
    except Exception:  # of the user's dataset
        return None


def _loss(net, flat, batch):
    """Loss of a batch in evaluation mode, None if it cannot be computed; `net` stays as it is."""
    X, y = batch
    try:
        with _evaluating(net, flat), torch.no_grad():
            return float(net.get_loss(net.infer(X), y, X=X))
    except Exception:  # of the user's module or criterion
        return None


@contextmanager
def _evaluating(net, flat):
    """Context in which module and criterion are in evaluation mode; modes and buffers return."""
    # a net of the user may have its criterion under another name
    wholes = [net.module_, getattr(net, "criterion_", None)]
    wholes = [whole for whole in wholes if isinstance(whole, nn.Module)]
    modes = [(part, part.training) for whole in wholes for part in whole.modules()]
    buffers = flat.copy_of_buffers()
    try:
        for whole in wholes:
            whole.eval()
        yield
    finally:
        for part, training in modes:
            part.training = training
        flat.write_buffers(buffers)


def _finite(net, what, value, batch):
    value = float(value)
    if not math.isfinite(value):
        n_steps = net.trajectory_.n_steps
        net.trajectory_.mark_broken(f"training diverged, the {what} is {value} at its end")
        raise ValueError(
            f"The {what} is {value} after the last step ({n_steps}): training diverged. "
            f"{_remedy(net, batch)}"
        )


def _remedy(net, batch):
    return remedy_for_divergence(*(batch or (None, None)), net.rho)
