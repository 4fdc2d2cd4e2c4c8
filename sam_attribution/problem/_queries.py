"""The validation side: evaluation functions and their gradients, at any parameters."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sam_attribution._row_source import RowSource
from sam_attribution._rows import part_of, passes_over, to_dtype
from sam_attribution._summary import summary
from sam_attribution.dynamics import Cotangent
from sam_attribution.problem._finite import check_gradients_are_finite
from sam_attribution.problem._problem import Problem
from sam_attribution.problem._row_gradients import gradients_of
from sam_attribution.problem._row_loss import gradient_in_output
from sam_attribution.problem._running_statistics import RunningStatistics


@dataclass(frozen=True, eq=False)
class Queries:
    """One or several evaluation functions over validation rows, and their gradients.

    Query j is the mean of `evaluation` over the rows ``groups[j]``.

    Attributes
    ----------
    problem : Problem
    X : Tensor or RowSource
        Validation rows, or those that are asked about. Read them by :meth:`chunks` and
        :meth:`batch`.
    y : Tensor
        Their label codes.
    evaluation : callable
        ``(logits, y) -> (n,)``, lower is better.
    groups : tuple of Tensor
        Row positions of each query.
    normalize : bool
        Divide each gradient by its norm, so that only its direction counts.
    """

    problem: Problem
    X: Tensor | RowSource
    y: Tensor
    evaluation: Callable[[Tensor, Tensor], Tensor]
    groups: tuple[Tensor, ...]
    normalize: bool = False

    __repr__ = summary

    def batch(self, rows):
        """Inputs and targets of the rows at some positions, as ``Problem.batch`` returns them."""
        return self.X[rows], self.y[rows]

    def chunks(self, rows=None):
        """Split positions into passes for :meth:`batch`; None stands for every row."""
        if rows is None:
            rows = torch.arange(len(self.y), device=self.y.device)
        return passes_over(self.X, rows, self.problem.rows_per_pass)

    def of(self, problem):
        """The same queries of another problem, in its precision."""
        X, y = (to_dtype(part, problem.params.dtype) for part in (self.X, self.y))
        evaluation = self.evaluation
        if getattr(evaluation, "__self__", None) is self.problem.row_loss:
            evaluation = getattr(problem.row_loss, evaluation.__name__)
        return replace(self, problem=problem, X=X, y=y, evaluation=evaluation)

    def values(self, params, buffers):
        """Query values, shape (n_queries,)."""
        with torch.no_grad():
            values = torch.cat([self._evaluate(params, buffers, rows) for rows in self.chunks()])
        return torch.stack([values[group].mean() for group in self.groups])

    def directions(self, params, buffers):
        """Query gradients, shape (n_params, n_queries), zero outside the attributed part."""
        if all(len(group) == 1 for group in self.groups):
            gradients = self._row_gradients(params, buffers, torch.cat(self.groups))
        elif self.problem.head is None:
            each = [self._gradients(params, buffers, group)[0] for group in self.groups]
            gradients = self.problem.restrict(torch.stack(each, dim=1)).T
        else:
            gradients = torch.stack(self._head_gradients(params, buffers))
        return _divided(gradients, self._norms(gradients)).T

    def cotangent(self, params, buffers, tracked=()):
        """Query gradients in parameters and in the `tracked` buffers.

        Returns
        -------
        dynamics.Cotangent
            One for each query.
        """
        # batch norm's statistics have a derivative in there only
        with RunningStatistics(buffers):
            columns = [self._gradients(params, buffers, group, tracked) for group in self.groups]
        on_params, *on_buffers = (torch.stack(column) for column in zip(*columns, strict=True))
        norms = self._norms(on_params)
        on_params, *on_buffers = (_divided(part, norms) for part in (on_params, *on_buffers))
        return Cotangent(on_params, dict(zip(tracked, on_buffers, strict=True)))

    def _norms(self, gradients):
        """Norms of finite (k, n_params) `gradients`; None if they keep their lengths."""
        check_gradients_are_finite(gradients)
        if not self.normalize:
            return None
        norms = torch.linalg.vector_norm(gradients, dim=1)
        check_gradients_are_finite(norms[:, None])  # a square may overflow
        return norms

    def _evaluate(self, params, buffers, rows):
        X, y = self.batch(rows)
        return self.evaluation(self.problem.logits(params, buffers, X), y)

    def _row_gradients(self, params, buffers, rows):
        """Gradients of single rows, (n, n_params), some rows at a time."""
        X, y, problem = part_of(self.X, rows), self.y[rows], self.problem
        found = params.new_empty(len(rows), len(params))
        if problem.head is None:
            for at, part in gradients_of(problem, params, buffers, X, y, self.evaluation):
                found[at] = problem.restrict(part.T).T
            return found
        named = problem.layout.unflatten(params)
        for at in torch.arange(len(rows), device=rows.device).split(problem.rows_per_pass):
            logits, features = problem.head.features(named, buffers, X[at])
            in_logits = gradient_in_output(self.evaluation, logits, y[at])
            found[at] = problem.head.row_gradients(features, in_logits)
        return found

    def _gradients(self, params, buffers, group, tracked=()):
        """Gradients of a query in the parameters, and in each of the `tracked` buffers."""
        leaf = params.detach().requires_grad_()
        buffers = buffers | {name: buffers[name].detach().requires_grad_() for name in tracked}
        leaves = [leaf, *(buffers[name] for name in tracked)]
        totals = [torch.zeros_like(each) for each in leaves]
        for rows in self.chunks(group):
            with torch.enable_grad():
                value = self._evaluate(leaf, buffers, rows).sum()
            for total, part in zip(totals, torch.autograd.grad(value, leaves), strict=True):
                total += part
        return [total / len(group) for total in totals]

    def _head_gradients(self, params, buffers):
        """Closed form from one forward pass over the validation rows."""
        named = self.problem.layout.unflatten(params)
        totals = [torch.zeros_like(params) for _ in self.groups]
        rows = torch.arange(len(self.y), device=self.y.device)
        shares = torch.zeros(len(totals), len(rows), dtype=torch.float64, device=rows.device)
        for share, group in zip(shares, self.groups, strict=True):
            share[group] = 1 / len(group)
        for part in self.chunks(rows):
            X, y = self.batch(part)
            logits, features = self.problem.head.features(named, buffers, X)
            logit_gradient = gradient_in_output(self.evaluation, logits, y)
            for total, share in zip(totals, shares[:, part], strict=True):
                weighted = share[:, None].to(logit_gradient) * logit_gradient
                total += self.problem.head.gradient(features, weighted)
        return totals


def _divided(parts, norms):
    """Each of (k, ...) `parts` by its norm, where that is not 0; as they are without norms."""
    if norms is None:
        return parts
    return parts / torch.where(norms == 0, 1.0, norms).view(-1, *[1] * (parts.ndim - 1))
