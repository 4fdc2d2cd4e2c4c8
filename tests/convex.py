"""Softmax and ridge regression trained with SAM, in float64: small enough to solve exactly.

Everything is written out with ``torch.func`` again, apart from the perturbation itself, whose
derivatives the tests never take from the package.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from sam_attribution.problem import Problem, TargetRows


@dataclass
class SoftmaxRegression:
    """Rows, labels and row weights of one problem; parameters are one flat vector."""

    X: torch.Tensor
    y: torch.Tensor
    n_classes: int
    rho: float
    weight_decay: float
    perturbation: object

    @classmethod
    def draw(cls, seed, n, d, n_classes, rho, weight_decay, perturbation, signal=1.5, noise=0.1):
        generator = torch.Generator().manual_seed(seed)
        X = torch.randn(n, d, generator=generator, dtype=torch.float64)
        teacher = signal * torch.randn(d, n_classes, generator=generator, dtype=torch.float64)
        y = torch.distributions.Categorical(logits=X @ teacher).probs
        y = torch.multinomial(y, 1, generator=generator)[:, 0]
        wrong = torch.rand(n, generator=generator) < noise
        y[wrong] = torch.randint(n_classes, (n,), generator=generator)[wrong]
        return cls(X, y, n_classes, rho, weight_decay, perturbation)

    @property
    def n_params(self):
        return self.n_classes * (self.X.shape[1] + 1)

    def logits(self, w, X):
        d = self.X.shape[1]
        weight, bias = w[: self.n_classes * d].view(self.n_classes, d), w[self.n_classes * d :]
        return X @ weight.T + bias

    def mean_loss(self, w, s):
        """(1/n) sum_i s_i l_i: the denominator stays when a row goes."""
        losses = nn.functional.cross_entropy(self.logits(w, self.X), self.y, reduction="none")
        return s @ losses / len(self.y)

    def sam_gradient(self, w, s):
        """F_s(w): zero where SAM stands still."""
        gradient = torch.func.grad(self.mean_loss)
        eps = self.perturbation.eps(w, gradient(w, s), self.rho) if self.rho else 0.0
        return gradient(w + eps, s) + self.weight_decay * w

    def ones(self):
        return torch.ones(len(self.y), dtype=torch.float64)

    def minimiser(self, s=None):
        """Root of F at rho = 0."""
        plain = replace(self, rho=0.0)
        start = torch.zeros(self.n_params, dtype=torch.float64)
        return plain.root(start, self.ones() if s is None else s)

    def root(self, start, s, max_iter=60):
        """Newton's method on F_s with halved steps; check the residual yourself."""
        w = start
        jacobian = torch.func.jacrev(self.sam_gradient)
        for _ in range(max_iter):
            F = self.sam_gradient(w, s)
            if F.norm() < 1e-14:
                break
            step = torch.linalg.solve(jacobian(w, s), F)
            size = 1.0
            while self.sam_gradient(w - size * step, s).norm() > F.norm() and size > 1e-6:
                size /= 2
            w = w - size * step
        return w

    def left_out_roots(self, start, n_iter=12):
        """Roots without each row in turn, shape (n, n_params): batched Newton from `start`."""
        s = 1 - torch.eye(len(self.y), dtype=torch.float64)
        w = start.repeat(len(self.y), 1)
        residual = torch.vmap(self.sam_gradient)
        jacobian = torch.vmap(torch.func.jacrev(self.sam_gradient))
        F = residual(w, s)
        for _ in range(n_iter):
            if F.norm(dim=1).max() < 1e-14:
                break
            w = w - torch.linalg.solve(jacobian(w, s), F)
            F = residual(w, s)
        return w, F.norm(dim=1)

    def largest_radius(self, p):
        """rho_max: beyond it a p-norm fixed point (p < inf) hardly ever exists."""
        w = self.minimiser()
        plain = replace(self, rho=0.0, weight_decay=0.0)
        hessian = torch.func.jacrev(plain.sam_gradient)(w, self.ones())
        hessian = hessian + self.weight_decay * torch.eye(self.n_params, dtype=torch.float64)
        return self.weight_decay * torch.linalg.vector_norm(torch.linalg.solve(hessian, w), p)

    def problem(self, w, **options):
        """The package's view of the same model at parameters `w`."""
        layer = nn.Linear(self.X.shape[1], self.n_classes).double()
        nn.utils.vector_to_parameters(w, layer.parameters())
        return Problem(
            module=layer.eval(),
            X=self.X,
            y=self.y,
            n_classes=self.n_classes,
            weight_decay=self.weight_decay,
            rho=self.rho,
            perturbation=self.perturbation,
            **options,
        )


class RidgeRegression(SoftmaxRegression):
    """A linear model with squared errors and real targets; `n_classes`, the outputs, is 1."""

    @classmethod
    def draw(cls, seed, n, d, rho, weight_decay, perturbation):
        generator = torch.Generator().manual_seed(seed)
        X = torch.randn(n, d, generator=generator, dtype=torch.float64)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        y = X @ torch.randn(d, generator=generator, dtype=torch.float64) + 0.7 * noise + 1
        return cls(X, y, 1, rho, weight_decay, perturbation)

    def mean_loss(self, w, s):
        return s @ (self.logits(w, self.X)[:, 0] - self.y) ** 2 / len(self.y)

    def problem(self, w, **options):
        problem = super().problem(w, **options)
        return replace(problem, n_classes=None, row_loss=TargetRows())
