"""Evaluation functions of validation rows: (logits, y) -> values, lower is better.

For a regression a callable is given predictions, shape (n,), in the place of logits.
"""

from functools import partial

import torch


def margin(logits, y):
    """Negative margin ``-(z_y - logsumexp of the other logits)``, shape (n,), in logits.

    It does not saturate on rows that are already right, where the loss does. For two or
    more classes it equals ``-log(p_y / (1 - p_y))``, computed with ``z_y`` masked: from the
    probabilities it is infinite in float32 from a margin of about 17.
    """
    own = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
    others = logits.masked_fill(own, -torch.inf).logsumexp(1)
    return others - logits[own]


def evaluation_function(evaluation, row_loss):
    """Function behind ``evaluation="loss"``, ``"margin"`` or a callable; ValueError otherwise."""
    if callable(evaluation):
        return partial(_checked, evaluation, row_loss)
    named = {
        "loss": row_loss.evaluated,
        "margin": partial(_margin_of_output, row_loss),  # a lambda could not be pickled
    }
    if evaluation not in named:
        raise ValueError(
            f"evaluation must be one of {sorted(named)} or a callable (logits, y) -> values, "
            f"got {evaluation!r}."
        )
    return named[evaluation]


def _margin_of_output(row_loss, output, y):
    return margin(row_loss.to_logits(output), y)


def _checked(evaluation, row_loss, output, y):
    values = evaluation(row_loss.predicted(output), y)
    if not torch.is_tensor(values):
        raise TypeError(f"evaluation must return a tensor, got {type(values).__name__}.")
    if values.shape != y.shape[:1]:
        raise ValueError(
            f"evaluation must return one value per row, shape ({len(y)},), got shape "
            f"{tuple(values.shape)}. Use reduction='none'."
        )
    if torch.is_grad_enabled() and output.requires_grad and not values.requires_grad:
        raise ValueError(
            "evaluation must return values with a gradient, got values that do not depend on the "
            "outputs, or not smoothly (argmax, a comparison, detach, .data, no_grad). Return a "
            "smooth function of the outputs, such as a loss."
        )
    return values
