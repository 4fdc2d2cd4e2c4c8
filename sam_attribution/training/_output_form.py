"""What a module puts out for some rows: a tensor, or several in tuples, lists and dicts."""

from collections import OrderedDict

import torch

_DICTS = (dict, OrderedDict)


def flat_output(output):
    """Output as one vector per row, (n, k): a tensor of any shape, or several next to each other.

    A tensor without rows stays as it is. A TypeError for anything but tensors in tuples, lists and
    dicts.
    """
    parts = [_of_rows(leaf) for leaf in leaves_of(output)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _of_rows(leaf):
    if leaf.ndim == 1:
        return leaf[:, None]
    return leaf.flatten(1) if leaf.ndim > 2 else leaf


def leaves_of(output):
    """The tensors of an output, in their order."""
    if torch.is_tensor(output):
        return [output]
    if type(output) in _DICTS:
        return [leaf for part in output.values() for leaf in leaves_of(part)]
    if isinstance(output, tuple | list):
        return [leaf for part in output for leaf in leaves_of(part)]
    raise TypeError(
        "module must give a tensor, or tensors in a tuple, list or dict, got "
        f"{type(output).__name__}."
    )


def joined(outputs):
    """Outputs for some rows each as the output for all of them."""
    columns = zip(*map(leaves_of, outputs), strict=True)
    return filled(outputs[0], map(torch.cat, columns))


class OutputForm:
    """The form that a module gives to the numbers of a row, taken from an `output` of some rows."""

    def __init__(self, output):
        self._like = filled(output, iter([leaf.shape[1:] for leaf in leaves_of(output)]))
        self._shapes = [leaf.shape[1:] for leaf in leaves_of(output)]
        self.n_numbers = sum(shape.numel() for shape in self._shapes)

    def restored(self, flat):
        """The output as the module gave it, of vectors (n, k) such as :func:`flat_output` gives.

        A ValueError if a row has another number of entries.
        """
        if flat.shape[1] != self.n_numbers:
            raise ValueError(
                f"module gives {flat.shape[1]} numbers for some rows and {self.n_numbers} for "
                "others. Pad the rows to one length, and leave the padding out of the loss with "
                "ignore_index."
            )
        parts = flat.split([shape.numel() for shape in self._shapes], dim=1)
        pairs = zip(parts, self._shapes, strict=True)
        return filled(self._like, iter([part.reshape(len(flat), *shape) for part, shape in pairs]))


def filled(like, values):
    """The tuples, lists and dicts of `like`, with the next of `values` for each of its leaves."""
    if type(like) in _DICTS:
        return {name: filled(part, values) for name, part in like.items()}
    if isinstance(like, tuple) and hasattr(like, "_fields"):
        return type(like)(*(filled(part, values) for part in like))
    if isinstance(like, list | tuple) and not isinstance(like, torch.Size):
        return type(like)(filled(part, values) for part in like)
    return next(values)
