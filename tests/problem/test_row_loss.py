"""The gradient of a loss in the output by its formula, as a function that has derivatives."""

import torch
from torch import nn

from sam_attribution.problem import CrossEntropyRows, GenericRows

torch.manual_seed(0)
output, y = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2, 0])


def test_the_formula_of_cross_entropy_and_its_derivative_are_those_of_autodiff():
    def total(output):
        return nn.functional.cross_entropy(output, y, reduction="sum")

    found = CrossEntropyRows().in_output_by_formula(output, y)
    torch.testing.assert_close(found, torch.func.grad(total)(output), rtol=1e-12, atol=1e-14)
    derivative = torch.func.jacrev(lambda z: CrossEntropyRows().in_output_by_formula(z, y))(output)
    torch.testing.assert_close(
        derivative, torch.func.hessian(total)(output), rtol=1e-12, atol=1e-14
    )


def test_losses_without_a_formula_say_so():
    weight = torch.tensor([1.0, 2.0, 1.0, 1.0])
    for rows in (CrossEntropyRows(0.1), CrossEntropyRows(0.0, weight), GenericRows(nn.MSELoss())):
        assert rows.in_output_by_formula(output, y) is None
