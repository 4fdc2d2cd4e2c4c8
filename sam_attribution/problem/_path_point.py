"""One state of the recorded training, with the batch of the step that starts there."""

from dataclasses import dataclass, replace

from torch import Tensor

from sam_attribution.problem._training_batch import TrainingBatch
from sam_attribution.training import part_seed, part_slices


@dataclass(frozen=True, eq=False)
class PathPoint:
    """One visited state with the batch that was drawn there.

    Attributes
    ----------
    params : Tensor of shape (n_params,)
    buffers : dict of str to Tensor
    rows : Tensor of positions
        The batch of the step that starts here.
    rate : float or Tensor of shape (n_params,)
        Rate that this point stands for: one step's, or the sum over its stretch.
    rho : float
        Radius of the perturbation at that step.
    steps : tuple of int
        First step that it stands for, and the first that it no longer does.
    seed : int, optional
        Fixes the dropout masks of the step that starts here.
    epoch : int, optional
        Epoch, counted from 0, in which that step reads the rows; None if it does not matter.
    m_sharpness : int, optional
        Largest number of rows that share a perturbation in that step; None for the whole batch.
    masks_are_known : bool, default=True
        False if `seed` does not give the masks of the training: there is no training mode then
        for a module that draws some.
    shares : tuple of Tensor, optional
        The rows of each process, which drew the same masks for its own and took the mean loss
        over them; by default one process had all.
    """

    params: Tensor
    buffers: dict[str, Tensor]
    rows: Tensor
    rate: float | Tensor
    rho: float
    steps: tuple[int, int]
    seed: int | None = None
    epoch: int | None = None
    m_sharpness: int | None = None
    masks_are_known: bool = True
    shares: tuple[Tensor, ...] = ()

    def in_parts(self, problem):
        """Points that together stand for this one, one for each part of the batch.

        Each has the rate times the weight of its part in the batch. They share `params`.
        """
        if self.m_sharpness is None:
            return [self]
        slices = part_slices(len(self.rows), self.m_sharpness)
        whole = problem.weight_of(self.rows) or 1.0
        parts = []
        for number, where in enumerate(slices):
            rows = self.rows[where]
            rate = self.rate * (problem.weight_of(rows) / whole)
            seed = None if self.seed is None else part_seed(self.seed, number)
            parts.append(
                replace(self, rows=rows, rate=rate, seed=seed, m_sharpness=None, shares=())
            )
        return parts

    def batch(self, problem):
        """The batch in training mode; None where that is evaluation mode, or no seed is known."""
        if self._masks_are_missing(problem) or not problem.training_differs:
            return None
        return TrainingBatch(problem.at_epoch(self.epoch), self.rows, self.seed)

    def _masks_are_missing(self, problem):
        return self.seed is None or (not self.masks_are_known and problem.training_draws)

    def row_params(self, problem, at):
        """The parameters at which the rows' gradients are taken, shape (n_params,).

        ``w``: the state itself; ``w+eps``: where SAM took the gradient of the batch, in training
        mode with the masks of the step.
        """
        if at not in ("w", "w+eps"):
            raise ValueError(f'at must be "w" or "w+eps", got {at!r}.')
        if at == "w" or self.rho == 0:
            return self.params
        if self.m_sharpness is not None:
            raise ValueError(
                "each part of this batch has its own perturbation. Call in_parts() first."
            )
        problem = problem.at_epoch(self.epoch)
        if self._masks_are_missing(problem):
            return problem.ascend(self.params, self.buffers, self.rows, self.rho)
        # also where the modes seem to be the same: training took this one
        batches = [TrainingBatch(problem, rows, self.seed) for rows in self.shares or [self.rows]]
        gradients = [batch.gradient(self.params, self.buffers) for batch in batches]
        gradient = sum(gradients) / len(gradients)
        return self.params + problem.perturbation.eps(self.params, gradient, self.rho)

    def scaled(self, columns):
        """Directions and a number that together stand for `columns` (n_params, k) times the rate.

        If the rate is one number these are `columns` themselves (not a copy) and the rate, else
        `columns` times the rate of each parameter, and 1.
        """
        if isinstance(self.rate, float):
            return columns, self.rate
        return self.rate[:, None] * columns, 1.0
