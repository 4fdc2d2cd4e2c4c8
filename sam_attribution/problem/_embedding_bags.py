"""Embedding bags as look-ups and sums, which have forward mode and second derivatives."""

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class BagsAsSums(TorchFunctionMode):
    """A mode in which ``embedding_bag`` of a table of tokens is made of an embedding and a sum."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        pooled = None
        if func is nn.functional.embedding_bag:
            pooled = _pooled(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if pooled is None else pooled


def _pooled(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """The same numbers for bags of equal length, (n, length) tokens; None for any others."""
    if input.ndim != 2 or offsets is not None or max_norm is not None or scale_grad_by_freq:
        return None
    real = torch.ones_like(input, dtype=torch.bool)
    if padding_idx is not None:
        real = input != padding_idx % len(weight)
    vectors, real = nn.functional.embedding(input, weight), real[..., None]
    if mode == "max":
        largest = vectors.masked_fill(~real, -torch.inf).max(1).values
        return torch.where(real.any(1), largest, 0.0)
    if per_sample_weights is not None:
        vectors = per_sample_weights[..., None] * vectors
    total = torch.where(real, vectors, 0.0).sum(1)
    return total / real.sum(1).clamp_min(1) if mode == "mean" else total
