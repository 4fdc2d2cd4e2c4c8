"""The training loss of one row, and its derivative for every label the row might carry."""

import torch
from torch import nn


class CrossEntropyRows:
    """Cross-entropy, with label smoothing: the derivative in the logits is closed form.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        As in ``torch.nn.CrossEntropyLoss``.
    """

    def __init__(self, label_smoothing=0.0):
        self.label_smoothing = label_smoothing

    def to_logits(self, output):
        """Logits from what the module puts out: the same."""
        return output

    def per_sample(self, logits, y):
        """Loss of every row, shape (n,), in nats."""
        return nn.functional.cross_entropy(
            logits, y, reduction="none", label_smoothing=self.label_smoothing
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
        expected = (logits.softmax(1)[:, :, None] * tangents).sum(1, keepdim=True)
        smoothing = self.label_smoothing
        if smoothing:
            return expected - (1 - smoothing) * tangents - smoothing * tangents.mean(1, True)
        return expected - tangents


class GenericRows:
    """Any per-row loss: the derivative in the logits comes from autodiff, label by label.

    Parameters
    ----------
    per_sample : callable
        ``(output, y) -> (n,)``, one loss per row.
    probabilities : bool, default=False
        Whether the module puts out probabilities (as skorch wants for ``NLLLoss``).
    """

    def __init__(self, per_sample, probabilities=False):
        self.per_sample = per_sample
        self.probabilities = probabilities

    def to_logits(self, output):
        """Logits from what the module puts out."""
        if not self.probabilities:
            return output
        return torch.log(output + torch.finfo(output.dtype).eps)

    def label_table(self, logits, tangents):
        """As :meth:`CrossEntropyRows.label_table`, at the price of n_classes backward passes."""
        columns = []
        for label in range(logits.shape[1]):
            gradient = self._gradient(logits, label)
            columns.append(torch.einsum("nc,nck->nk", gradient, tangents))
        return torch.stack(columns, dim=1)

    def _gradient(self, logits, label):
        leaf = logits.detach().requires_grad_()
        y = torch.full(leaf.shape[:1], label, device=leaf.device)
        with torch.enable_grad():
            return torch.autograd.grad(self.per_sample(leaf, y).sum(), leaf)[0]
