"""Two classes told apart by one logit: that of the second class, by ``BCEWithLogitsLoss``."""

import torch
from torch import nn

from sam_attribution.training._losses import check_output, shape_or_type
from sam_attribution.training._wrappers import inner_module


def has_one_logit(criterion):
    """True for a criterion, or a class of criteria, of one logit for two classes."""
    kind = criterion if isinstance(criterion, type) else type(inner_module(criterion))
    return issubclass(kind, nn.BCEWithLogitsLoss)


class OneLogit:
    """The part of a classifier that takes one logit z instead of two, (0, z).

    It goes before :class:`ClassLabels`, and does nothing with other criteria.
    """

    @property
    def _one_logit(self):
        return has_one_logit(getattr(self, "criterion_", self.criterion))

    def predict_proba(self, X):
        """Probability of each of ``classes_``, shape (n_samples, n_classes)."""
        found = super().predict_proba(X)
        return found.reshape(len(found), -1) if self._one_logit else found

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Mean loss of a batch, weighted in training if there are sample weights."""
        if self._one_logit:
            check_output(self.criterion_, y_pred)
            y_pred, y_true = _alike(y_pred, torch.as_tensor(y_true, device=y_pred.device))
        return super().get_loss(y_pred, y_true, X=X, training=training)

    def loss_per_sample(self, output, targets):
        """Loss of every row, with its class weight if the criterion has any, (n_samples,)."""
        pair = _alike(output, targets) if self._one_logit else (output, targets)
        return super().loss_per_sample(*pair)

    def _fit_targets(self, y, X, classes, reset):
        codes = super()._fit_targets(y, X, classes, reset)
        if self._one_logit and len(self._labels) != 2:
            raise ValueError(
                "criterion=BCEWithLogitsLoss has one logit for two classes, but y holds "
                f"{len(self._labels)} classes. Use CrossEntropyLoss, or SAMNet for rows with "
                "several labels."
            )
        return codes

    def _output_sizes(self):
        sizes = super()._output_sizes()
        return sizes | {"n_outputs": 1} if self._one_logit else sizes

    def _check_outputs(self, logits):
        if not self._one_logit:
            super()._check_outputs(logits)
        elif getattr(logits, "shape", ())[1:] not in ((), (1,)):
            raise ValueError(
                "module must give one number per row for criterion=BCEWithLogitsLoss, shape "
                f"(n_samples,) or (n_samples, 1), got {shape_or_type(logits)}. Give the module "
                "an argument n_outputs, or use CrossEntropyLoss with a logit per class."
            )


def _alike(logits, codes):
    """Logits and labels as the criterion takes them, both (n_samples,) and of one dtype."""
    return logits.reshape(codes.shape), codes.to(logits.dtype)
