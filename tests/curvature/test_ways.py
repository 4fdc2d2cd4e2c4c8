"""Curvature of modules that torch.func cannot take: equal to that of the same net without."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from sam_attribution.curvature import (
    EmpiricalFisher,
    GaussNewton,
    Hessian,
    KroneckerCurvature,
    SAMPoint,
    sam_jacobian,
)
from sam_attribution.linalg import extreme_eigenvalues
from sam_attribution.methods import EKFAC, HIF, GradCos, GradDot
from sam_attribution.probes import CosineProbe, training_scores
from sam_attribution.problem import GenericRows, Problem, Queries

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1)).double()
y = torch.arange(12) % 3


class OldTanh(torch.autograd.Function):
    """In the style of old, without setup_context."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (1 - torch.tanh(x) ** 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.norm, self.head = nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)
        self.register_buffer("calls", torch.zeros(()))

    def bend(self, hidden):
        return torch.tanh(hidden)

    def forward(self, X):
        return self.head(self.norm(self.bend(self.body(X))))


class Counting(Net):
    def forward(self, X):
        self.calls += 1
        return super().forward(X)


class OwnFunction(Net):
    def bend(self, hidden):
        return OldTanh.apply(hidden)


def hooked():
    net = Net()
    for part in (net.body, net.norm, net.head):
        part.register_full_backward_hook(lambda *_: None)
    return net


KINDS = {"hooks": hooked, "counting buffer": Counting, "own function": OwnFunction}


def problem_of(module, row_loss=None, **settings):
    settings = {"rho": 0.2, "weight_decay": 0.1, "n_classes": 3, "X": X, "y": y} | settings
    if row_loss is not None:
        settings["row_loss"] = row_loss
    return Problem(module=module.double().eval(), **settings)


def scores(method, problem):
    evaluation = problem.row_loss.per_sample
    queries = Queries(problem, problem.X[:4], problem.y[:4], evaluation, (torch.arange(4),))
    return training_scores(problem, method.prepare(problem).probes(queries), given_only=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("kind", KINDS)
def test_every_curvature_is_that_of_the_plain_net(kind):
    plain, other = problem_of(Net()), problem_of(KINDS[kind]())
    for curvature in (Hessian, GaussNewton, EmpiricalFisher, KroneckerCurvature):
        expected = curvature(plain, plain.params).to_dense()
        assert expected.norm() > 0.1
        torch.testing.assert_close(curvature(other, other.params).to_dense(), expected)
    expected = sam_jacobian(SAMPoint(plain), "full")
    found = sam_jacobian(SAMPoint(other), "full")
    torch.testing.assert_close(found.to_dense(), expected.to_dense())
    bounds = [extreme_eigenvalues(jacobian, 20).rightmost for jacobian in (found, expected)]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-6)
    torch.testing.assert_close(found.T.to_dense(), expected.to_dense().T)
    probes = [
        CosineProbe(each.params, torch.ones_like(each.params)[:, None], each.buffers)
        for each in (plain, other)
    ]
    lengths = [training_scores(each, [p]) for each, p in zip((plain, other), probes, strict=True)]
    torch.testing.assert_close(lengths[1], lengths[0])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_an_embedding_bag_is_an_embedding_and_a_sum(mode):
    class ByHand(nn.Module):
        def __init__(self, bag):
            super().__init__()
            self.table = nn.Embedding(6, 4, padding_idx=2, _weight=bag.weight.detach().clone())

        def forward(self, tokens):
            rows = []
            for row in tokens:
                tokens = row[row != 2]
                if len(tokens) == 0:
                    rows.append(torch.zeros(4).double())
                    continue
                pooled = getattr(torch, mode)(self.table(tokens), 0)
                rows.append(pooled.values if mode == "max" else pooled)
            return torch.stack(rows)

    torch.manual_seed(3)
    bag, head = nn.EmbeddingBag(6, 4, mode=mode, padding_idx=2), nn.Linear(4, 3)
    tokens = torch.randint(6, (12, 3))
    tokens[5] = 2
    by_bag = problem_of(nn.Sequential(bag, nn.Tanh(), head), X=tokens)
    by_hand = problem_of(nn.Sequential(ByHand(bag), nn.Tanh(), copy.deepcopy(head)), X=tokens)
    for curvature in (Hessian, GaussNewton):
        found = curvature(by_bag, by_bag.params).to_dense()
        torch.testing.assert_close(found, curvature(by_hand, by_hand.params).to_dense())
    damped = HIF(damping=0.3)
    torch.testing.assert_close(scores(damped, by_bag), scores(damped, by_hand))
    torch.testing.assert_close(scores(GradCos(), by_bag), scores(GradCos(), by_hand))


def test_a_criterion_without_second_derivative_is_named():
    margins = problem_of(Net(), GenericRows(nn.MultiMarginLoss()))
    for method in (HIF(damping=1.0), HIF(damping=1.0, curvature="ggn"), EKFAC()):
        with pytest.raises(ValueError, match="criterion MultiMarginLoss has no second derivative"):
            scores(method, margins)
    assert scores(GradCos(), margins).any()
    assert scores(HIF("fast", damping=1.0, curvature="fisher"), margins).any()


def test_a_module_without_second_derivative_is_named():
    class Once(OldTanh):
        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return OldTanh.backward(ctx, gradient)

    class OnceNet(Net):
        def bend(self, hidden):
            return Once.apply(hidden)

    with pytest.raises(ValueError, match=r'OnceNet cannot be differentiated twice.*such as "gif"'):
        scores(HIF(damping=1.0), problem_of(OnceNet()))
    found, plain = (scores(GradDot(), problem_of(net)) for net in (OnceNet(), Net()))
    torch.testing.assert_close(found, plain)


def test_a_loss_that_is_linear_in_the_logits_has_no_curvature():
    class Negative(nn.Module):
        reduction = "none"

        def forward(self, logits, y):
            return -logits.gather(1, y[:, None])[:, 0]

    problem = problem_of(nn.Linear(4, 3), GenericRows(Negative()), rho=0.0)
    for curvature in (Hessian, GaussNewton):
        assert not curvature(problem, problem.params).to_dense().any()


class InstanceNormed(nn.Module):
    """torch's layer or, `by_hand`, its formula."""

    def __init__(self, by_hand):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head, self.by_hand = nn.Linear(4, 6), nn.Linear(6, 3), by_hand

    def forward(self, X):
        hidden = self.layer(X).view(-1, 2, 3)
        if self.by_hand:
            centred = hidden - hidden.mean(2, keepdim=True)
            hidden = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
        else:
            hidden = nn.functional.instance_norm(hidden)
        return self.head(torch.tanh(hidden).flatten(1))


def test_instance_norm_has_the_curvature_of_its_formula():
    found, by_hand = (problem_of(InstanceNormed(by_hand)) for by_hand in (False, True))
    product = Hessian(found, found.params).matvec(torch.ones_like(found.params))
    assert not product.requires_grad
    for method in (HIF(damping=0.5), HIF(damping=0.5, curvature="ggn")):
        torch.testing.assert_close(scores(method, found), scores(method, by_hand))


class Normed(nn.Module):
    """``g v / ||v||``, over all of the weight where `dim` is None."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, g, v):
        size = v.norm() if self.dim is None else v.norm(dim=1 - self.dim, keepdim=True)
        return g * v / size

    def right_inverse(self, weight):
        size = weight.norm() if self.dim is None else weight.norm(dim=1 - self.dim, keepdim=True)
        return size, weight


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("norm", [parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.parametrize("dim", [0, None])
def test_weight_norm_has_the_curvature_of_its_formula(norm, dim):
    by_torch, by_hand = Net(), Net()
    norm(by_torch.body, dim=dim)
    register_parametrization(by_hand.body, "weight", Normed(dim))
    found, expected = problem_of(by_torch), problem_of(by_hand)
    for method in (HIF(damping=0.5), GradDot()):
        torch.testing.assert_close(scores(method, found), scores(method, expected))
