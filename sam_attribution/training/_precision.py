"""A module that was cast to another precision than that of its net."""

from contextlib import contextmanager

import torch

from sam_attribution.training._whole_numbers import is_about_types
from sam_attribution.training._wrappers import inner_module


def check_precision(net):
    """Raise a ValueError if a fitted net has floating-point parameters in another dtype than its.

    A half-precision module with other arithmetic than the recorded steps had is another model.
    """
    if said := _what_was_cast(net):
        raise ValueError(said)


@contextmanager
def naming_precision(net):
    """Turn torch's error about types into a ValueError if the module of `net` was cast."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        said = _what_was_cast(net) if is_about_types(error) else None
        if said is None:
            raise
        raise ValueError(said) from error


def _what_was_cast(net):
    """Message about the first parameter that is not in the net's `dtype`, or None."""
    wanted = getattr(torch, net.dtype)
    for name, p in inner_module(net.module_).named_parameters():
        if p.is_floating_point() and p.dtype != wanted:
            found = str(p.dtype).removeprefix("torch.")
            return (
                f"module_ has its parameter {name!r} in {found}, but dtype={net.dtype!r}: it was "
                f"cast after it was built (by half(), to() or the like), or dtype was set since. "
                f"Cast it back by module_.to({wanted}), or fit again; for predictions in {found} "
                "cast a copy of module_."
            )
    return None
