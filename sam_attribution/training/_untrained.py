"""The net and the tensors that training would start from, made without training."""

from typing import NamedTuple

import torch
from sklearn.base import clone
from torch import nn

from sam_attribution._rows import whole_of
from sam_attribution.training._flat_module import FlatModule
from sam_attribution.training._module_copy import copy_of_module
from sam_attribution.training._random import untouched_random_state


class Untrained(NamedTuple):
    """A twin of a net that has module, criterion and optimizer, and some rows as tensors.

    Attributes
    ----------
    net : SAMClassifier or SAMRegressor
    X : Tensor or RowSource
    targets, sample_weight : Tensor
        Targets are label codes for a classifier; weights are None if none came.
    """

    net: object
    X: object
    targets: torch.Tensor
    sample_weight: torch.Tensor | None


def untrained(net, X, y, sample_weight=None, classes=None):
    """Build what ``net.fit`` would for some rows; no step is taken and `net` does not change.

    `classes` are all labels, of which `y` may have a part. Global random streams stay as they are.
    Errors are those of ``fit``.
    """
    twin = clone(net).set_params(trajectory_dir=None, compile=False)
    with untouched_random_state(net.device):
        X, targets, sample_weight = twin._fit_inputs(X, y, sample_weight, classes, True)
        twin._initialize_virtual_params()
        twin._initialize_module()
        if not isinstance(net.module, nn.Module):  # a factory may give the user's own
            twin.module_ = copy_of_module(twin.module_)
        twin.module_.eval()
        FlatModule(twin.module_)  # one without parameters to train says so
        twin._initialize_criterion()
        twin._initialize_optimizer()
        device = twin.module_device
        tensors = twin.as_tensors(X), torch.as_tensor(targets, device=device)
        with torch.no_grad():  # a module or criterion that cannot work says so
            rows = whole_of(tensors[0])
            twin.get_loss(twin.infer(rows), tensors[1], X=rows)
    return Untrained(twin, *tensors, sample_weight)
