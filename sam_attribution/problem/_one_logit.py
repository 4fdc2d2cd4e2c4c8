"""The loss of rows of two classes that one logit tells apart."""

import torch
from torch import nn

from sam_attribution.problem._row_loss import GenericRows
from sam_attribution.training import loss_per_sample


class OneLogitRows(GenericRows):
    """``BCEWithLogitsLoss`` of one logit z, (n, 1): cross-entropy of the logits (0, z)."""

    def as_given(self, output):
        return output[:, 0]

    def predicted(self, output):
        """Argument of evaluation functions: the logits (0, z), shape (n, 2)."""
        return self.to_logits(output)

    def per_sample(self, output, y):
        return loss_per_sample(self.criterion, output[:, 0], y.to(output.dtype))

    evaluated = per_sample

    def to_logits(self, output):
        """Logits of both classes, (0, z)."""
        return torch.cat([torch.zeros_like(output), output], dim=1)

    def in_output(self, output, y):
        if type(self.criterion) is not nn.BCEWithLogitsLoss:
            return super().in_output(output, y)
        # not p - y, which cancels where a prediction is nearly certain
        of_first, of_second = output.sigmoid(), -torch.sigmoid(-output)
        if self.criterion.pos_weight is not None:
            of_second = self.criterion.pos_weight * of_second
        return torch.where(y[:, None] == 1, of_second, of_first)
