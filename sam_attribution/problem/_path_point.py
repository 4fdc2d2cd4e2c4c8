"""One state of the recorded training, with the batch of the step that starts there."""

from dataclasses import dataclass

from torch import Tensor

from sam_attribution.problem._training_batch import TrainingBatch


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
    """

    params: Tensor
    buffers: dict[str, Tensor]
    rows: Tensor
    rate: float | Tensor
    rho: float
    steps: tuple[int, int]
    seed: int | None = None
    epoch: int | None = None

    def batch(self, problem):
        """The batch in training mode; None where that is evaluation mode, or no seed is known."""
        if self.seed is None or not problem.training_differs:
            return None
        return TrainingBatch(problem.at_epoch(self.epoch), self.rows, self.seed)

    def row_params(self, problem, at):
        """The parameters at which the rows' gradients are taken, shape (n_params,).

        ``w``: the state itself; ``w+eps``: where SAM took the gradient of the batch, in training
        mode with the masks of the step.
        """
        if at == "w":
            return self.params
        if at == "w+eps" and (batch := self.batch(problem)) and self.rho:
            gradient = batch.gradient(self.params, self.buffers)
            return self.params + problem.perturbation.eps(self.params, gradient, self.rho)
        if at == "w+eps":
            problem = problem.at_epoch(self.epoch)
            return problem.ascend(self.params, self.buffers, self.rows, self.rho)
        raise ValueError(f'at must be "w" or "w+eps", got {at!r}.')

    def scaled(self, columns):
        """Directions and a number that together stand for `columns` (n_params, k) times the rate.

        If the rate is one number these are `columns` themselves (not a copy) and the rate, else
        `columns` times the rate of each parameter, and 1.
        """
        if isinstance(self.rate, float):
            return columns, self.rate
        return self.rate[:, None] * columns, 1.0
