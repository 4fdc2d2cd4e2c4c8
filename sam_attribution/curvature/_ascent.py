"""Whose gradient moves the point at which SAM takes its own: that of all rows, or of each batch."""

import torch

from sam_attribution.curvature._sam_jacobian import SAMPoint, attributed_jacobian
from sam_attribution.linalg import LinearOperator


class SAMPoints:
    """One :class:`SAMPoint` for all rows, or one for each of some batches.

    A batch's point is made again at each reading, so that no more than one is in memory.

    Parameters
    ----------
    problem : Problem
    batches : list of Tensor of positions, optional
        All rows together if None.
    w : Tensor of shape (n_params,), optional
        By default the trained parameters.
    **settings
        Those of :class:`SAMPoint`.
    """

    def __init__(self, problem, batches=None, *, w=None, **settings):
        self.problem = problem
        self.batches = batches
        self.w = problem.params if w is None else w
        self._settings = settings
        self._whole = SAMPoint(problem, w=self.w, **settings) if batches is None else None

    def __len__(self):
        return 1 if self.batches is None else len(self.batches)

    def __iter__(self):
        if self.batches is None:
            yield self._whole
            return
        yield from map(self.of_batch, range(len(self.batches)))

    def of_batch(self, number):
        """The point of one batch."""
        return SAMPoint(self.problem, w=self.w, rows=self.batches[number], **self._settings)

    def at(self, w):
        """The points of the same rows from other parameters."""
        return SAMPoints(self.problem, self.batches, w=w, **self._settings)

    def jacobian(self, variant):
        """Mean of the points' :func:`attributed_jacobian`."""
        if self.batches is None:
            return attributed_jacobian(self._whole, variant)
        return MeanJacobian(self, variant)

    def sam_gradient(self):
        """``F(w)``: mean of the gradients at the points, with weight decay."""
        return sum(point.sam_gradient for point in self) / len(self)


class MeanJacobian(LinearOperator):
    """Mean over batches of the Jacobian of the SAM gradient of each."""

    def __init__(self, points, variant, *, transposed=False):
        first = attributed_jacobian(next(iter(points)), variant)
        super().__init__(first.like, symmetric=first.symmetric)
        self._points = points
        self._variant = variant
        self._transposed = transposed

    def matvec(self, v):
        return self.matmat(v[:, None])[:, 0]

    def matmat(self, columns):
        total = torch.zeros_like(columns)
        for point in self._points:
            total += self._of(point).matmat(columns)
        return total / len(self._points)

    def sampled(self, n_rows, generator):
        """Random rows of a random batch: the others cost no pass."""
        number = int(torch.randint(len(self._points), (), generator=generator))
        return self._of(self._points.of_batch(number)).sampled(n_rows, generator)

    def _of(self, point):
        jacobian = attributed_jacobian(point, self._variant)
        return jacobian.T if self._transposed else jacobian

    def _transpose(self):
        return MeanJacobian(self._points, self._variant, transposed=not self._transposed)
