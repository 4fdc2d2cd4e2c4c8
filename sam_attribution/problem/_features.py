"""Features of rows: what the last linear layer is given."""

import torch

from sam_attribution.problem._head import Head


def last_linear(network, some):
    """The :class:`Head` of a network, or None if its logits for the batch `some` do not end in one.

    Parameters
    ----------
    network : Problem or NetworkWithoutRows
    some : Tensor, dict or tuple of tensors
    """
    try:
        head = Head(network.module, network.layout)
        head.features(network.layout.unflatten(network.params), network.buffers, some)
    except ValueError:
        return None
    return head


@torch.no_grad()
def logits_and_features(network, head, params, buffers, X):
    """Logits of a batch and the input of the `head`; without a head, the logits twice."""
    if head is None:
        logits = network.logits(params, buffers, X)
        return logits, logits
    return head.features(network.layout.unflatten(params), buffers, X)
