"""The validation side: gradients of what is asked, at any parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sam_attribution.problem._problem import Problem, RowEvaluation


@dataclass(frozen=True, eq=False)
class Queries:
    """One or several evaluation functions over validation rows, and their gradients.

    Query j is the mean of `evaluation` over the rows ``groups[j]``.

    Attributes
    ----------
    problem : Problem
    X, y : Tensor
        Validation rows and label codes.
    evaluation : callable
        ``(logits, y) -> (n,)``, lower is better.
    groups : tuple of Tensor
        Row positions of each query.
    normalize : bool
        Divide each gradient by its norm, so that only its direction counts.
    """

    problem: Problem
    X: Tensor
    y: Tensor
    evaluation: RowEvaluation
    groups: tuple[Tensor, ...]
    normalize: bool = False

    def values(self, params, buffers):
        """Query values, shape (n_queries,)."""
        with torch.no_grad():
            rows = torch.arange(len(self.y), device=self.y.device)
            parts = rows.split(self.problem.rows_per_pass)
            values = torch.cat([self._evaluate(params, buffers, part) for part in parts])
        return torch.stack([values[group].mean() for group in self.groups])

    def directions(self, params, buffers):
        """Query gradients, shape (n_params, n_queries), zero outside the attributed part."""
        if self.problem.head is None:
            columns = [self._gradient(params, buffers, group) for group in self.groups]
        else:
            columns = self._head_gradients(params, buffers)
        directions = self.problem.restrict(torch.stack(columns, dim=1))
        if self.normalize:
            norms = torch.linalg.vector_norm(directions, dim=0)
            directions = directions / torch.where(norms == 0, 1.0, norms)
        return directions

    def _evaluate(self, params, buffers, rows):
        return self.evaluation(self.problem.logits(params, buffers, self.X[rows]), self.y[rows])

    def _gradient(self, params, buffers, group):
        leaf = params.detach().requires_grad_()
        total = torch.zeros_like(params)
        for rows in group.split(self.problem.rows_per_pass):
            total += torch.autograd.grad(self._evaluate(leaf, buffers, rows).sum(), leaf)[0]
        return total / len(group)

    def _head_gradients(self, params, buffers):
        """Closed form from one forward pass over the validation rows."""
        named = self.problem.layout.unflatten(params)
        totals = [torch.zeros_like(params) for _ in self.groups]
        member = torch.stack([_membership(group, len(self.y)) for group in self.groups])
        rows = torch.arange(len(self.y), device=self.y.device)
        for part in rows.split(self.problem.rows_per_pass):
            logits, features = self.problem.head.features(named, buffers, self.X[part])
            logit_gradient = _gradient_in_logits(self.evaluation, logits, self.y[part])
            for total, share in zip(totals, member[:, part], strict=True):
                weighted = share[:, None].to(logit_gradient) * logit_gradient
                total += self.problem.head.gradient(features, weighted)
        return totals


def _membership(group, n_rows):
    """1 / len(group) at the rows of `group`, 0 elsewhere."""
    share = torch.zeros(n_rows, dtype=torch.float64, device=group.device)
    share[group] = 1 / len(group)
    return share


def _gradient_in_logits(evaluation, logits, y):
    leaf = logits.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(evaluation(leaf, y).sum(), leaf)[0]
