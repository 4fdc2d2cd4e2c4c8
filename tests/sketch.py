"""Random projections written out as matrices."""

import torch


def dense_sketch(size, proj_dim, generator):
    """Transpose of the matrix of ``linalg.CountSketch``, (size, proj_dim)."""
    place = torch.randint(proj_dim, (size,), generator=generator)
    sign = 2.0 * torch.randint(2, (size,), generator=generator) - 1
    S = torch.zeros(size, proj_dim, dtype=torch.float64)
    S[torch.arange(size), place] = sign.double()
    return S
