"""One batch in training mode, with its dropout masks and batch statistics."""

from contextlib import contextmanager

import torch

from sam_attribution.dynamics import BatchPart, SplitBatch
from sam_attribution.problem._running_statistics import RunningStatistics
from sam_attribution.training import (
    Draws,
    isolated_random_state,
    part_seed,
    part_slices,
    seed_torch,
)


class TrainingBatch:
    """Rows of a problem that training put into one batch; `seed` fixes the dropout masks.

    `row_weights` (n_samples,) are those of all rows of the problem, ones if None. The denominator
    does not change.
    """

    def __init__(self, problem, rows, seed, row_weights=None):
        self.problem = problem
        self.rows = rows
        self.seed = seed
        self._row_weights = row_weights
        self._X, self._y = problem.batch(rows)
        self.weight = problem.weight_of(rows)
        # a batch of weight 0 has loss 0
        self.shares = problem.weights[rows] / (self.weight or 1.0)
        if row_weights is not None:
            self.shares = row_weights[rows] * self.shares

    def outputs(self, params, buffers):
        """The module's output for the rows, and the buffers after.

        Changes nothing that is given but buffers that the module itself writes in place. Seeds
        torch's global stream, which the caller puts back.
        """
        problem = self.problem
        seed_torch(self.seed, params.device)
        named = problem.layout.unflatten(params)
        if not buffers:  # no statistics: the mode would cost every call of torch
            return problem.training_call(named, self._X), {}
        counts = {name: b.clone() for name, b in buffers.items() if not b.is_floating_point()}
        buffers = buffers | counts  # numbers of batches are counted up in place
        with RunningStatistics(buffers) as statistics:
            output = problem.training_call(named | buffers, self._X)
        return output, statistics.after

    @torch.no_grad()
    def tried(self, params, buffers):
        """The output in training mode, and who owns the random streams that the module drew from.

        Nothing that is given changes.
        """
        with self.in_training(), Draws(params.device) as draws:
            output, _ = self.outputs(params, self.copied(buffers))
        return output, draws.owners

    def in_parts(self, m):
        """The batch as training with ``m_sharpness=m`` took it, for the steps of ``dynamics``."""
        slices = part_slices(len(self.rows), m)
        return self if len(slices) == 1 else SplitBatch(tuple(self._parts(slices)))

    def _parts(self, slices):
        for number, rows in enumerate(slices):
            seed = part_seed(self.seed, number)
            part = TrainingBatch(self.problem, self.rows[rows], seed, self._row_weights)
            yield BatchPart(part, part.weight / (self.weight or 1.0), rows)

    @contextmanager
    def in_training(self, **streams):
        """Random streams and kernels for one step, see ``training.isolated_random_state``."""
        problem = self.problem
        isolated = isolated_random_state(self.seed, problem.params.device, **streams)
        with isolated, problem.training_call.kernels():
            yield

    @staticmethod
    def copied(buffers):
        """Copies of `buffers`, which a module may write to in place."""
        return {name: buffer.clone() for name, buffer in buffers.items()}

    def gradient(self, params, buffers, row_weights=None):
        """Gradient of the mean loss in training mode, shape (n_params,); no weight decay."""
        leaf = params.detach().clone().requires_grad_()
        weights = torch.ones_like(self.shares) if row_weights is None else row_weights
        with self.in_training(), torch.enable_grad():
            loss, _ = self(leaf, buffers, weights)
            return torch.autograd.grad(loss, leaf)[0]

    def mean_loss(self, output):
        """``sum_i a_i l_i / sum_i a_i`` over the batch."""
        return self.shares @ self.problem.row_loss.per_sample(output, self._y)

    def loss_gradient(self, output):
        """Gradient of :meth:`mean_loss` in the output by a formula, None without one."""
        back = self.problem.row_loss.in_output_by_formula(output, self._y)
        return None if back is None else self.shares[:, None] * back

    def __call__(self, params, buffers, row_weights):
        """Mean loss with row weights, ``sum_i s_i a_i l_i / sum_i a_i``, and the buffers after."""
        output, after = self.outputs(params, self.copied(buffers))
        losses = self.problem.row_loss.per_sample(output, self._y)
        return (row_weights * self.shares) @ losses, after
