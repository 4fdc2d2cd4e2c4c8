import torch
from sklearn.frozen import FrozenEstimator

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.influence._aggregation import WorstClassAggregation
from sam_attribution.methods import GIF
from sam_attribution.methods._rates import plain_rates
from sam_attribution.problem import margin
from tests.models import fitted, row_gradients


def test_worst_class_normalises_each_class_direction_at_each_state():
    """Over several states the norms do not cancel: a late, large gradient must not drown all."""
    net, *data, _ = fitted("mlp")
    held_out = ValidationData(-data[0][:12], data[1][:12])
    influence = SAMInfluence(
        FrozenEstimator(net),
        method=GIF(query="checkpoint", n_checkpoints=3),
        validation=held_out,
        evaluation="margin",
        aggregate="worst-class",
    ).fit(*data)
    problem, found = influence.attributions_[0].problem, torch.as_tensor(influence.scores_)
    X, y = -problem.X[:12], problem.y[:12]
    total = torch.zeros(40, 3, dtype=torch.float64)
    for point in problem.path.checkpoints(3, plain_rates(problem.path)):
        w = problem.ascend(point.params, point.buffers, point.rows, point.rho)
        rows = row_gradients(problem, w, point.buffers)[torch.arange(40), problem.y]
        leaf = point.params.clone().requires_grad_()
        for label in range(3):
            own = y == label
            value = margin(problem.logits(leaf, point.buffers, X[own]), y[own]).mean()
            v = torch.autograd.grad(value, leaf)[0]
            total[:, label] += point.rate / 40 * (rows @ v) / v.norm()
    expected = (total / total.std(0, correction=0)).min(1).values
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_a_class_without_spread_is_left_as_it_is():
    scores = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    aggregation = WorstClassAggregation().fit(scores)
    assert aggregation.reduce(scores).tolist() == [0.0, 0.0]
    assert aggregation.spread_.tolist() == [1.0, 1.0]
