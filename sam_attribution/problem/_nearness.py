"""Comparisons of what should be the same numbers, up to the rounding of their dtypes."""

import torch


def are_near(values, others, tolerance):
    """True if tensors differ, in norm, by `tolerance` of `others`, or `others` are not finite."""
    size = torch.linalg.vector_norm(others)
    distance = torch.linalg.vector_norm(values - others)
    return not size.isfinite() or bool(distance <= tolerance * size)


def entries_differ(values, others, tolerance, scale=None):
    """True if some entries differ by more than `tolerance` of `scale`, or shapes do.

    `scale` is the largest of `values` by default. Entries of `values` that are not finite are left
    out: a net may have diverged.
    """
    if values.shape != others.shape:
        return True
    known = values.isfinite()
    if not known.any():
        return False
    distance = (values - others)[known].abs().nan_to_num(torch.inf)
    return bool(
        (distance > tolerance * (values[known].abs().max() if scale is None else scale)).any()
    )


def tolerance_of(tolerance, *dtypes):
    """`tolerance`, or a few roundings of the coarsest of some dtypes if that is more."""
    return max(tolerance, *(4 * torch.finfo(dtype).eps for dtype in dtypes))
