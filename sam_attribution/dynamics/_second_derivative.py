"""Second derivatives that torch would leave out in silence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

_WITHOUT = re.compile(
    "derivative for .* is not implemented|differentiate twice|double backward", re.I
)


class OnceDifferentiable(ValueError, RuntimeError):
    """A part of a function has a first derivative alone."""


@contextmanager
def missing_derivatives_named() -> Iterator[None]:
    """Turn torch's error for an operation without a second derivative into OnceDifferentiable."""
    try:
        yield
    except OnceDifferentiable:
        raise
    except (RuntimeError, NotImplementedError) as error:
        if not _WITHOUT.search(str(error)):
            raise
        said = str(error).splitlines()[0]
        raise OnceDifferentiable(
            f"torch has no second derivative of an operation in training: {said}. "
            'Use another operation, or a method of first derivatives, such as "gif".'
        ) from error


def check_differentiable_again(gradient: Tensor) -> None:
    """Raise an error if torch would take a part of a gradient, given with its graph, for constant.

    An own ``autograd.Function`` whose backward pass is ``once_differentiable`` is such a part.
    """
    seen, open_ = set(), [gradient.grad_fn]
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        if type(node).__name__ == "Error":
            raise OnceDifferentiable(
                "an autograd.Function is once_differentiable, so torch has no second derivative "
                "of it. Make its backward pass differentiable, or use a method of first "
                'derivatives, such as "gif".'
            )
        seen.add(node)
        open_.extend(before for before, _ in node.next_functions)
