"""Check that training ended at numbers: the last step has no step after it that would tell."""

import math
from functools import partial

import torch
from skorch.dataset import unpack_data

from sam_attribution._warnings import warn
from sam_attribution.training._accelerated import scaler_of
from sam_attribution.training._data import IndexedDataset
from sam_attribution.training._flat_module import FlatModule
from sam_attribution.training._unit_size import remedy_for_divergence

_FAR = 10.0  # times the loss of guessing: noisy labels that are learned by heart stay below


def check_end(net, X, y):
    """Raise a ValueError unless the weights, and the loss of the last batch, are finite."""
    schedule = net.trajectory_.schedule
    if not schedule:
        return
    flat = FlatModule(net.module_)
    batch = partial(_batch, net, X, y, schedule[-1].indices)
    _finite(net, "largest weight", flat.vector().abs().max(), batch)
    # a scaler repeats what overflows; a broken run may need more than its rows
    if scaler_of(net) is None and not net.trajectory_.broken:
        loss = _loss(net, flat, batch())
        _finite(net, "loss", loss, batch)
        _warn_if_blown_up(net, float(loss), batch)


def is_far_above_guessing(loss, criterion, n_classes):
    """True if a mean cross-entropy is more than ten times that of equal probabilities."""
    if not isinstance(criterion, torch.nn.CrossEntropyLoss) or not n_classes:
        return False
    return loss > _FAR * math.log(max(2, n_classes))


def _warn_if_blown_up(net, loss, batch):
    """Warn if the loss of the last batch is far above that of guessing."""
    n_classes = len(getattr(net, "classes_", ()))
    guessing = math.log(max(2, n_classes))
    # where training mode did better, batch norm's statistics are not those of the weights yet
    learned = net.history[-1].get("train_loss", guessing) < guessing
    if is_far_above_guessing(loss, net.criterion_, n_classes) and not learned:
        warn(
            f"The loss of the last batch is {loss:.3g} after training, far above the "
            f"{guessing:.2g} of guessing among {n_classes} classes: training blew up, or a "
            f"start that far off was not left. {remedy_for_divergence(*unpack_data(batch()))}"
        )


def _batch(net, X, y, rows):
    collate = net.get_params_for("iterator_train").get("collate_fn")
    return IndexedDataset(net.get_dataset(X, y), collate).batch(rows).to(net.module_device)


def _loss(net, flat, batch):
    """Loss of a batch in evaluation mode; the net stays as it is."""
    training, buffers = net.module_.training, flat.copy_of_buffers()
    try:
        return net.validation_step(batch)["loss"]
    finally:
        net.module_.train(training)
        flat.write_buffers(buffers)


def _finite(net, what, value, batch):
    value = float(value)
    if not math.isfinite(value):
        n_steps = net.trajectory_.n_steps
        net.trajectory_.mark_broken(f"training diverged, the {what} is {value} at its end")
        raise ValueError(
            f"The {what} is {value} after the last step ({n_steps}): training diverged. "
            f"{remedy_for_divergence(*unpack_data(batch()))}"
        )
