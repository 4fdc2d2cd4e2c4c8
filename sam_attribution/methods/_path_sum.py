"""Sums along the recorded training, as GIF and TracIn compute them."""

from functools import cached_property, partial

import torch

from sam_attribution.dynamics import Tangent
from sam_attribution.methods._method import Prepared
from sam_attribution.methods._rates import RATES
from sam_attribution.probes import Probe, Replayable, step_probe
from sam_attribution.problem import check_recorded, summed_gradient, warn_of_other_losses

_EVALUATED_AT_CHECKPOINTS = "in evaluation mode, though training used dropout or batch norm"
_EVALUATED = f"{_EVALUATED_AT_CHECKPOINTS}; n_checkpoints=None takes them as in training"


class PathSum(Prepared):
    """``sum over states of rate * <query gradient, row gradient>``, with the options of GIF."""

    along_training = True

    def __init__(self, problem, *, query, n_checkpoints, rates, at):
        check_recorded(problem)
        self._problem = problem
        self._query = query
        self._n_checkpoints = n_checkpoints
        self._at = at
        self._rates = RATES[rates](problem.path)
        self.rows_are_exchangeable = n_checkpoints is not None
        if at == "w+eps" or not self.rows_are_exchangeable:
            warn_of_other_losses(problem)
        self.diagnostics = {
            "scale": f"{problem.row_loss.unit}, but curvature is ignored: trust sign and order, "
            "not the slope",
            "steps": problem.path.n_steps,
            "steps_repeated": self._rates.n_repeated(n_checkpoints),
            "mode": self._mode(),
        }

    def _mode(self):
        """Mode of the module in which gradients are taken, in words."""
        if not self._problem.training_differs:
            return "gradients are the same in training and evaluation mode"
        if not self._problem.path.has_steps:
            return self._mode_at_checkpoints()
        repeatable = self._problem.path.can_be_repeated
        evaluated = _EVALUATED if repeatable else _EVALUATED_AT_CHECKPOINTS
        if self._at == "w" and self.rows_are_exchangeable:
            return f"row gradients {evaluated}"
        if self.rows_are_exchangeable:
            return f"eps in training mode, row gradients {evaluated}"
        return (
            "gradients of a batch's rows in training mode, with the recorded masks; of others in "
            "evaluation mode"
        )

    def _mode_at_checkpoints(self):
        eps = ""
        if self._at == "w+eps":
            in_training = all(point.batch(self._problem) for point, _ in self._checkpoints)
            eps = "eps in training mode, " if in_training else "eps and "
        return f"{eps}row gradients {_EVALUATED_AT_CHECKPOINTS}"

    def probes(self, queries):
        if self.rows_are_exchangeable:
            return list(self.probes_once(queries))
        n_probes = int(self._problem.path.n_parts.sum())
        return Replayable(partial(self.probes_once, queries), n_probes)

    def probes_once(self, queries):
        """Yield the probes, those of checkpoints in the order of the training."""
        problem = self._problem
        at, directions = problem.params, queries.directions(problem.params, problem.buffers)
        for point, row_point in self._points():
            # the parts of one batch share the state
            if self._query == "checkpoint" and point.params is not at:
                at, directions = point.params, queries.directions(point.params, point.buffers)
            yield self._probe(point, row_point, directions)

    def removal_step(self, groups, *, verbose=0):
        """``sum over states of rate * row gradient`` of every group: minus its training steps."""
        total = torch.zeros(len(groups), *self._problem.params.shape).to(self._problem.params)
        for point, row_point in self._points():
            for step, group in zip(total, groups, strict=True):
                step += point.rate * self._rows_part(point, row_point, group)
        return Tangent(total, {})

    def _rows_part(self, point, row_point, group):
        """Part of a point's gradient that is due to the rows of a group."""
        problem = self._problem
        if self.rows_are_exchangeable:
            rows, weight = group, problem.total_weight
        else:
            rows, weight = point.rows[torch.isin(point.rows, group)], problem.weight_of(point.rows)
        if len(rows) == 0:
            return 0.0
        if batch := self._batch(point):
            present = torch.isin(point.rows, group).to(row_point)
            gradient = batch.gradient(row_point, point.buffers, present)
            return problem.restrict(gradient[:, None])[:, 0]
        then = problem.at_epoch(point.epoch)
        return summed_gradient(then, row_point, point.buffers, rows) / (weight or 1.0)

    def _batch(self, point):
        """The batch of a visited step in training mode, if that matters."""
        return None if self.rows_are_exchangeable else point.batch(self._problem)

    def _points(self):
        """Visited states, each with the point where row gradients are taken."""
        if self.rows_are_exchangeable:
            return self._checkpoints
        return self._visited(self._problem.path.every_step(self._rates))

    @cached_property
    def _checkpoints(self):
        """Kept, because the probes hold them anyway."""
        path = self._problem.path
        return list(self._visited(path.checkpoints(self._n_checkpoints, self._rates)))

    def _visited(self, points):
        for point in points:
            for part in self._parts(point):
                yield part, part.row_params(self._problem, self._at)

    def _parts(self, point):
        """The point itself, or one for each part of its batch where these matter."""
        if self._at == "w" and self.rows_are_exchangeable:
            return [point]
        return point.in_parts(self._problem)

    def _probe(self, point, row_point, directions):
        problem = self._problem
        # Theorem 4.6 loses the minus of its own derivation: removal *adds* the row's step back
        directions, rate = point.scaled(directions)
        if batch := self._batch(point):
            options = {"rate": rate, "steps": point.steps, "epoch": problem.epoch_for(point.epoch)}
            return step_probe(batch, row_point, point.buffers, directions, **options)
        rows = None if self.rows_are_exchangeable else point.rows
        return Probe(
            point=row_point,
            directions=directions,
            buffers=point.buffers,
            rate=rate,
            rows=rows,
            rows_weight=None if rows is None else problem.weight_of(rows),
            steps=point.steps,
            epoch=problem.epoch_for(point.epoch),
        )
