"""Whether there is such a device."""

import torch


def check_device(device):
    """Raise a ValueError unless numbers can be put on `device`; None is where things are."""
    if device is None:
        return
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={device!r} cannot be computed on here: {str(error).splitlines()[0]} "
            'Use "cpu", or a device that this torch finds.'
        ) from error
