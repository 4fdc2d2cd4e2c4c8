"""How straight a model's outputs move along a predicted change of its weights."""


def bend(start, half, end):
    """Share of what moves the outputs that is not linear in the length of the step.

    Parameters
    ----------
    start, half, end : Tensor of shape (n, n_outputs)
        Outputs for the same rows without the step, after half of it, and after all of it.

    Returns
    -------
    float
        ``2 ||end - 2 half + start|| / ||end - start||``: 0 on a straight line, 1 where the second
        order alone moves them.

    Notes
    -----
    The step is the first order of what removing rows does. Where it moves the outputs far from a
    straight line, the orders that were left out are of the size of what was kept.

    Examples
    --------
    >>> import torch
    >>> line = torch.tensor([[1.0, 2.0]])
    >>> bend(0 * line, 0.5 * line, line), bend(0 * line, 0.25 * line, line)
    (0.0, 1.0)
    """
    moved = float((end - start).norm())
    return 2 * float((end - 2 * half + start).norm()) / moved if moved else 0.0
