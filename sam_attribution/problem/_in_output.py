"""Derivatives of single rows' values in what the module puts out for them."""

import torch


def gradient_in_output(per_sample, output, y):
    """Of any ``per_sample(output, y)``, by autodiff; (n, n_outputs)."""
    leaf = output.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(per_sample(leaf, y).sum(), leaf)[0]


def loss_in_output(row_loss, output, y=None):
    """Of the training loss, by its own rule, which keeps what is left of a sure prediction.

    Shape (n, n_outputs) with `y`; (n, n_classes, n_outputs) for every label without.
    """
    each = torch.eye(output.shape[1], dtype=output.dtype, device=output.device)
    each = each.expand(len(output), -1, -1)
    return row_loss.label_table(output, each) if y is None else row_loss.along(output, each, y)
