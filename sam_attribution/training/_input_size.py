"""The error of a module whose sizes do not fit the rows, in words about `X`."""

from collections.abc import Mapping
from contextlib import contextmanager

import torch

_SAID = ("shapes cannot be multiplied", "expected input[")


@contextmanager
def naming_input_size(x):
    """Turn torch's error about sizes into a ValueError about `X`; other errors get a note."""
    try:
        yield
    except Exception as error:  # of the user's module, which may raise anything
        said = str(error).partition("\n")[0]
        if isinstance(x, tuple) and _is_about_arguments(error, said):
            raise ValueError(
                f"module cannot take X, whose rows have {len(x)} inputs: {said}. Of the items of a "
                "Dataset the last part is y and all others are inputs. Give pairs (x, y), without "
                "metadata, or a module that takes all inputs."
            ) from error
        if not isinstance(error, RuntimeError) or not any(words in said for words in _SAID):
            error.add_note(f"module was given rows of shape {_shape_of_rows(x)}.")
            raise
        raise ValueError(
            f"module cannot take X, whose rows have shape {_shape_of_rows(x)}: {said}. Build it "
            "with the sizes of X (module__<name>=...), or reshape X."
        ) from error


def _is_about_arguments(error, said):
    """True for the error of a module that takes one tensor, or another number of them."""
    is_of_type = isinstance(error, TypeError | AttributeError)
    return is_of_type and ("tuple" in said or "positional argument" in said)


def _shape_of_rows(x):
    if isinstance(x, Mapping):
        return {name: _shape_of_rows(part) for name, part in x.items()}
    if isinstance(x, tuple):
        return [_shape_of_rows(part) for part in x]
    return tuple(x.shape[1:]) if torch.is_tensor(x) else type(x).__name__
