"""Second derivatives that torch would leave out in silence."""

from torch import Tensor


class OnceDifferentiable(ValueError, RuntimeError):
    """A part of a function has a first derivative alone."""


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
                "an autograd.Function is once_differentiable, so that torch has no second "
                "derivative of it. Make its backward pass differentiable, or use a method of first "
                'derivatives, such as "gif".'
            )
        seen.add(node)
        open_.extend(before for before, _ in node.next_functions)
