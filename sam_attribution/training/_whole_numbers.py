"""The error of a module that cannot compute with whole numbers, in words about `X`."""

from contextlib import contextmanager

import torch

from sam_attribution._rows import tensors_in


@contextmanager
def naming_whole_numbers(x):
    """Turn torch's error about the type of a batch of whole numbers into a ValueError about `X`."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        kinds = _kinds_of_whole_numbers(x)
        if not kinds or not is_about_types(error):
            raise
        said = str(error).partition("\n")[0]
        raise ValueError(
            f"X holds whole numbers ({', '.join(kinds)}), and module cannot compute with them: "
            f"{said}. Pass X.astype('float32'), or int64 for the indices of an embedding. For "
            "rows on disk pass a Dataset that converts its items."
        ) from error


def is_about_types(error):
    """True if an error of torch is about the types of numbers."""
    said = str(error).partition("\n")[0]
    return "type" in said or "implemented for" in said


def _kinds_of_whole_numbers(x):
    tensors = [part for part in tensors_in(x) if torch.is_tensor(part)]
    return sorted({str(t.dtype).removeprefix("torch.") for t in tensors if _is_whole(t)})


def _is_whole(tensor):
    return not (tensor.is_floating_point() or tensor.is_complex())
