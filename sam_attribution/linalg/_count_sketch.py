"""A random projection that is held as two vectors."""

import torch
from torch import Tensor


class CountSketch:
    """A random matrix S, (proj_dim, size), with one entry, 1 or -1, in each column.

    ``<S a, S b>`` is ``<a, b>`` on average over S, with a standard deviation of at most
    ``sqrt((|a|^2 |b|^2 + <a, b>^2) / proj_dim)``: that of a Gaussian matrix, at a `proj_dim`-th of
    its cost and memory. `like` (size,) fixes size, dtype and device; `generator` is on the CPU.

    References
    ----------
    Charikar, Chen & Farach-Colton, Finding Frequent Items in Data Streams, 2002.
    """

    def __init__(self, like: Tensor, proj_dim: int, generator: torch.Generator) -> None:
        size = (len(like),)
        self.proj_dim = proj_dim
        self._place = torch.randint(proj_dim, size, generator=generator).to(like.device)
        self._sign = (2.0 * torch.randint(2, size, generator=generator) - 1).to(like)

    def project(self, vectors: Tensor) -> Tensor:
        """``vectors @ S'``, (n, size) to (n, proj_dim)."""
        projected = vectors.new_zeros(len(vectors), self.proj_dim)
        for each, vector in zip(projected, vectors, strict=True):  # a signed copy of one at a time
            each.index_add_(0, self._place, vector * self._sign)
        return projected

    def expand(self, vectors: Tensor) -> Tensor:
        """``vectors @ S``, (n, proj_dim) to (n, size)."""
        return vectors[:, self._place] * self._sign
