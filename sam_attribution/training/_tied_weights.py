"""Tied weights in a state dict: one tensor of the module, under several names."""

import torch


def tied_names(module):
    """Lists of names that stand for one tensor of a module."""
    names = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if torch.is_tensor(tensor):
            names.setdefault(id(tensor), []).append(name)
    return [some for some in names.values() if len(some) > 1]


def with_tied(found, tied):
    """`found` with every name of a tied tensor; a file may hold it once, under any of them."""
    for names in tied:
        known = next((found[name] for name in names if name in found), None)
        if known is not None:
            found = dict.fromkeys(names, known) | found
    return found


def check_tied(found, tied, name):
    """Raise a ValueError if `found`, called `name`, has several values of one tensor."""
    for first, *others in tied:
        for other in others:
            if not torch.equal(found[first], found[other]):
                raise ValueError(
                    f"{name} has other values of {other!r} than of {first!r}, which are one tensor "
                    "of module: it belongs to another network, or the weights were tied later."
                )
