"""Probes: a point, directions that every row's gradient there is multiplied with, and the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sam_attribution._overflow import REMEDY_FOR_OVERFLOW
from sam_attribution._summary import summary
from sam_attribution.probes._row_norms import measured_rows, squared_row_norms
from sam_attribution.probes._tangents import logits_and_tangents


@dataclass(frozen=True, eq=False)
class Probe:
    """A row's score gains ``share * <direction, gradient of its loss at the point>``.

    Attributes
    ----------
    point : Tensor of shape (n_params,)
    directions : Tensor of shape (n_params, k)
        One column per query.
    buffers : dict of str to Tensor
        The buffers at this point.
    rate : float
        Multiplies the whole probe.
    rows : Tensor of positions, optional
        The training rows it holds for, a batch; all of them if None.
    rows_weight : float, optional
        Sum of the user's weights over `rows`; needed with `rows`.
    steps : tuple of int, optional
        First training step that it stands for, and the first that it no longer does.
    epoch : int, optional
        Epoch, counted from 0, whose random transforms the rows of a Dataset have; None if they
        are those of the problem.
    weighted : bool, default=True
        An attribute of the class, not an argument. True multiplies by the row's `share` of the
        training loss, 1/n without sample weights. A subclass with False has the share 1.
    """

    point: Tensor
    directions: Tensor
    buffers: dict[str, Tensor]
    rate: float = 1.0
    rows: Tensor | None = None
    rows_weight: float | None = None
    steps: tuple[int, int] | None = None
    epoch: int | None = None

    __repr__ = summary

    is_read: ClassVar[bool] = False  # whether outputs of its rows are known, which need no input
    weighted: ClassVar[bool] = True
    projectable: ClassVar[bool] = True  # whether gradients count by products and lengths alone

    def of_members(self, part):
        """The probe of the training rows ``rows[part]``, positions within a batch."""
        return self

    def label_table(self, problem, X):
        """Values of rows `X` for each label that they might carry, (n, n_classes, k)."""
        logits, tangents = logits_and_tangents(problem, self, X)
        return problem.row_loss.label_table(logits, tangents)

    def given_label(self, problem, X, y):
        """Values of rows `X` with the labels `y`, (n, k)."""
        output, tangents = logits_and_tangents(problem, self, X)
        return problem.row_loss.along(output, tangents, y)

    def of_gradients(self, gradients):
        """Values of rows with these gradients (n, n_params), by definition; (n, k)."""
        return gradients @ self.directions


class QuotientProbe(Probe):
    """Reads ``<direction, gradient> / size of the gradient``, 0 where the size is; no 1/n."""

    weighted: ClassVar[bool] = False

    def label_table(self, problem, X):
        return _divided(super().label_table(problem, X), self._squared_sizes(problem, X))

    def given_label(self, problem, X, y):
        sizes = self._squared_sizes(problem, X, y)
        return _divided(super().given_label(problem, X, y), sizes[:, 0])

    def of_gradients(self, gradients):
        return _divided(super().of_gradients(gradients), self.squared_size(gradients.T))


class CosineProbe(QuotientProbe):
    """Divides by the norm of the gradient."""

    def squared_size(self, columns):
        """Squared norms of `columns`."""
        return columns.square().sum(0)

    def _squared_sizes(self, problem, X, y=None):
        return squared_row_norms(problem, self, X, y=y)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class RelativeProbe(QuotientProbe):
    """Divides by the root of ``squared_size``, (n_params, m) -> (m,), of single rows' gradients."""

    squared_size: Callable[[Tensor], Tensor]

    projectable: ClassVar[bool] = False

    def _squared_sizes(self, problem, X, y=None):
        return measured_rows(problem, self, X, self.squared_size, y)


class SquaredNormProbe(Probe):
    """Reads ``sum(direction * gradient**2)``: the squared norm for a direction of ones."""

    def label_table(self, problem, X, y=None):
        columns = [squared_row_norms(problem, self, X, metric, y) for metric in self.directions.T]
        return torch.stack(columns, dim=2)

    def given_label(self, problem, X, y):
        return self.label_table(problem, X, y)[:, 0]


def _divided(products, squared_norms):
    if not torch.isfinite(squared_norms).all():
        raise ValueError(
            "the norms of rows' gradients are not finite: weights or rows are so large that their "
            f"squares overflow. {REMEDY_FOR_OVERFLOW}."
        )
    norms = squared_norms.sqrt()[..., None]
    return torch.where(norms == 0, 0.0, products / torch.where(norms == 0, 1.0, norms))
