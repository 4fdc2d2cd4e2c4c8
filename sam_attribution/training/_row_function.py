"""A function of output and target as a criterion."""

import inspect

from torch import nn

from sam_attribution.training._wrappers import inner_module


class RowFunction(nn.Module):
    """A function ``(output, y) -> (n,)`` as a criterion."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, output, y):
        return self.function(output, y)


def is_row_function(criterion):
    """True for a function of output and target; not for what makes a criterion without them."""
    if isinstance(criterion, type | nn.Module) or not callable(criterion):
        return False
    try:
        inspect.signature(criterion).bind()
    except (TypeError, ValueError):  # the second where it has no signature to read
        return True
    return False


def check_two_arguments(criterion):
    """Raise a TypeError unless a criterion can be called with an output and a target alone."""
    criterion = inner_module(criterion)
    is_function = isinstance(criterion, RowFunction)
    called = criterion.function if is_function else getattr(criterion, "forward", criterion)
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # there is none to read
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise TypeError(
            f"criterion {criterion_name(criterion)} cannot be called with an output and y alone: "
            f"{error}. Pass a function (output, y) -> (n,) that calls it with what it needs."
        ) from error


def criterion_name(criterion):
    """Name of a criterion, for messages: its class, or that of the user's function."""
    criterion = inner_module(criterion)
    if not isinstance(criterion, RowFunction):
        return type(criterion).__name__
    function = getattr(criterion.function, "func", criterion.function)  # of a partial
    return getattr(function, "__name__", type(function).__name__)
