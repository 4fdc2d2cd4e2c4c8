"""One point and the directions along which row gradients are read off there."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Probe:
    """A row's score gains ``share * <direction, gradient of its loss at the point>``.

    Attributes
    ----------
    point : Tensor of shape (n_params,)
    directions : Tensor of shape (n_params, k)
        One column per query.
    buffers : dict of str to Tensor
        What evaluation mode reads at this point.
    rate : float
        Multiplies the whole probe.
    rows : Tensor of positions, optional
        The training rows it holds for, a batch; all of them if None.
    rows_weight : float, optional
        Sum of the user's weights over `rows`; needed with `rows`.
    """

    point: Tensor
    directions: Tensor
    buffers: dict[str, Tensor]
    rate: float = 1.0
    rows: Tensor | None = None
    rows_weight: float | None = None
