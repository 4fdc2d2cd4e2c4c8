"""Perturbed points of SAM by the gradient of all rows, or of each batch."""

import torch

from sam_attribution.curvature._sam_jacobian import SAMPoint, attributed_jacobian
from sam_attribution.linalg import ColumnOperator

_BYTES = 2**28  # that the points of batches may take


class SAMPoints:
    """One :class:`SAMPoint` for all rows, or one for each of some batches, and their weights.

    Points of batches are held if their vectors take 256 MiB at most; else one is in memory at a
    time, and made again at each reading, which costs the batch's gradient again. `w` is by default
    the trained parameters, `settings` are those of :class:`SAMPoint`. ``weights`` (equal by
    default) sum to 1; means over the points are weighted by them.
    """

    def __init__(self, problem, batches=None, *, weights=None, w=None, **settings):
        self.problem = problem
        self.batches = batches
        self.w = problem.params if w is None else w
        self._settings = settings
        self._parts = [None] if batches is None else batches
        equal = [1 / len(self._parts)] * len(self._parts)
        self.weights = equal if weights is None else weights
        # a gradient and a perturbed point each
        bytes_held = 2 * len(self._parts) * self.w.numel() * self.w.element_size()
        fits = bytes_held <= _BYTES or batches is None
        self._held = [self._made(rows) for rows in self._parts] if fits else None

    def __len__(self):
        return len(self._parts)

    def __getitem__(self, number):
        """The point of one batch; an IndexError, and so the end of an iteration, beyond them."""
        return self._made(self._parts[number]) if self._held is None else self._held[number]

    def at(self, w):
        """The points of the same rows from other parameters."""
        return SAMPoints(self.problem, self.batches, weights=self.weights, w=w, **self._settings)

    def jacobian(self, variant):
        """Mean of the points' :func:`attributed_jacobian`."""
        if self.batches is None:
            return attributed_jacobian(self[0], variant)
        return MeanJacobian(self, variant)

    def sam_gradient(self):
        """``F(w)``: mean of the gradients at the points, with weight decay."""
        return self.mean(point.sam_gradient for point in self)

    def mean(self, values):
        """Weighted mean of a value for each point."""
        return sum(weight * value for weight, value in zip(self.weights, values, strict=True))

    def _made(self, rows):
        return SAMPoint(self.problem, w=self.w, rows=rows, **self._settings)


class MeanJacobian(ColumnOperator):
    """Mean over batches of the Jacobian of the SAM gradient of each."""

    def __init__(self, points, variant, *, transposed=False):
        first = attributed_jacobian(points[0], variant)
        super().__init__(first.like, symmetric=first.symmetric)
        self._points = points
        self._variant = variant
        self._transposed = transposed

    def matmat(self, columns):
        return self._points.mean(self._of(point).matmat(columns) for point in self._points)

    def sampled(self, n_rows, generator):
        """Random rows of a random batch: the others cost no pass."""
        number = int(torch.randint(len(self._points), (), generator=generator))
        return self._of(self._points[number]).sampled(n_rows, generator)

    def _of(self, point):
        jacobian = attributed_jacobian(point, self._variant)
        return jacobian.T if self._transposed else jacobian

    def _transpose(self):
        return MeanJacobian(self._points, self._variant, transposed=not self._transposed)
