"""Products with a Jacobian, where vmap does not know the backward pass."""

import torch

from sam_attribution.dynamics._gradient_pass import pulled_back


class Cubed(torch.autograd.Function):
    """``x^3`` with a branch on a number in its backward pass."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient if gradient.abs().sum().item() > 0 else None


def test_several_cotangents_are_pulled_back_one_by_one():
    torch.manual_seed(0)
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    cotangents = torch.randn(3, 4, dtype=torch.float64)
    (found,) = pulled_back([Cubed.apply(x)], [x], [cotangents])
    torch.testing.assert_close(found, 3 * x.detach() ** 2 * cotangents, rtol=1e-12, atol=1e-14)
