"""The advice of errors is taken word for word, and works."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.influence._methods import METHODS
from sam_attribution.linalg import CG, GMRES
from sam_attribution.methods import EKFAC, HIF, TRAK, DataInf, InfluenceFunction, RelatIF
from sam_attribution.probes import training_scores
from sam_attribution.problem import GenericRows, Problem, Queries
from sam_attribution.problem._selection import selection
from tests.models import Cubed

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
y = torch.arange(12) % 3


class Encoder(nn.Module):
    """Attention, whose projections belong to no layer, beside layers that are supported."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)
        self.pooler, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, X):
        return self.head(torch.tanh(self.pooler(self.encoder(X[:, None])[:, 0])))


class Zoo(nn.Module):
    """One fault of each kind: no layer, no call, another call, rows mixed, a use elsewhere."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.functional, self.lstm = nn.Linear(4, 4), nn.LSTM(4, 4, batch_first=True)
        self.mixed, self.twice = nn.Linear(1, 1), nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, X):
        X = nn.functional.linear(X * self.scale, self.functional.weight, self.functional.bias)
        X = self.mixed(X.reshape(-1, 1)).reshape(len(X), -1)
        X = self.lstm(X[:, None])[0][:, 0]
        return self.head(torch.tanh(self.twice(X) @ self.twice.weight))


class Spare(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, X):
        return self.used(X)


def problem_of(module, **settings):
    torch.manual_seed(0)
    settings = {"X": X, "y": y, "n_classes": 3, "weight_decay": 0.1} | settings
    return Problem(module=module().double().eval(), **settings)


def scores(method, problem):
    groups = (torch.arange(4), torch.arange(12))
    queries = Queries(problem, problem.X, problem.y, problem.row_loss.evaluated, groups)
    return training_scores(problem, method.prepare(problem).probes(queries), given_only=True)


def error_of(method, problem):
    with pytest.raises(ValueError, match=r"Use|Leave|use|Give") as error:
        method.check_model(problem, None)
    with pytest.raises(ValueError, match=r"Use|Leave|use|Give") as later:
        method.prepare(problem)
    assert str(later.value) == str(error.value)
    return str(error.value)


def with_advised_parameters(problem, message):
    (setting,) = re.findall(r"parameters=(\[.*?\])(?:,|\.)", message)
    return replace(problem, selected=selection(eval(setting), problem.layout, None))


ZOO = ("scale", "functional", "lstm", "mixed", "twice")


@pytest.mark.parametrize(("module", "unsupported"), [(Encoder, ("encoder.self_attn",)), (Zoo, ZOO)])
def test_all_unsupported_layers_are_named_with_the_parameters_that_work(module, unsupported):
    problem = problem_of(module)
    message = error_of(EKFAC(), problem)
    part = with_advised_parameters(problem, message)
    EKFAC().check_model(part, None)
    kept = [name for name in problem.layout.names if not name.startswith(unsupported)]
    spans = [problem.layout.slices[name] for name in kept]
    assert part.selected.tolist() == [at for span in spans for at in range(span.start, span.stop)]
    expected = scores(EKFAC(), part)
    skipping = eval(re.search(r"EKFAC\(.*?\)", message)[0])
    skipping.check_model(problem, None)
    torch.testing.assert_close(scores(skipping, problem), expected)
    other = eval(re.search(r"InfluenceFunction\(.*?\)", message)[0]).set_params(damping=0.5)
    assert scores(other, problem).norm() > 0
    left_out = skipping.prepare(problem).diagnostics["left_out"]
    assert all(name.removesuffix(".self_attn") in left_out for name in unsupported)
    assert "left_out" not in EKFAC().prepare(part).diagnostics


def test_advice_keeps_to_the_part_that_is_attributed():
    problem = problem_of(Encoder)
    chosen = selection(["encoder.self_attn*", "head*", "pooler.weight"], problem.layout, None)
    part = replace(problem, selected=chosen)
    advised = with_advised_parameters(part, error_of(EKFAC(), part))
    expected = selection(["head*", "pooler.weight"], problem.layout, None)
    assert advised.selected.tolist() == expected.tolist()


@pytest.mark.parametrize("method", [EKFAC(), EKFAC(unsupported="skip")])
def test_no_parameters_are_advised_where_none_would_be_left(method):
    problem = problem_of(Encoder)
    chosen = selection("encoder.self_attn*", problem.layout, None)
    message = error_of(method, replace(problem, selected=chosen))
    assert "parameters=[" not in message
    assert "skip" not in message


@pytest.mark.slow
def test_a_fit_warns_once_of_what_ekfac_leaves_out():
    net = SAMClassifier(Encoder, max_epochs=1, batch_size=8, random_state=0, rho=0.0)
    skipping, folds = EKFAC(unsupported="skip"), StratifiedKFold(2)
    influence = SAMInfluence(net, method=skipping, validation=folds, random_state=0)
    with pytest.warns(UserWarning, match="unsupported=") as record:
        influence.fit(X.numpy(), y.numpy())
    told = [str(each.message) for each in record if "leaves out layers" in str(each.message)]
    assert len(told) == 1
    assert "encoder.self_attn.in_proj_weight" in told[0]
    assert influence.diagnostics_["left_out"].str.contains("self_attn").all()
    message = "EK-FAC has no rule for some layers"
    with pytest.raises(ValueError, match=message) as error:
        SAMInfluence(net, method="ekfac", random_state=0).fit(X.numpy(), y.numpy())
    (setting,) = re.findall(r"parameters=(\[.*?\]),", str(error.value))
    advised = SAMInfluence(net, method="ekfac", parameters=eval(setting), random_state=0)
    assert np.isfinite(advised.fit(X.numpy(), y.numpy()).scores_).any()


def test_datainf_on_parameters_without_gradients():
    problem = problem_of(Spare)
    message = error_of(DataInf(), problem)
    part = with_advised_parameters(problem, message)
    assert part.selected.tolist() == list(range(15))
    damped = eval(re.search(r"DataInf\(.*?\)", message)[0])
    assert scores(DataInf(), part).norm() > 0
    assert scores(damped, problem).norm() > 0
    none = replace(problem, selected=selection("spare*", problem.layout, None))
    assert "parameters=[" not in error_of(DataInf(), none)


def test_datainf_on_a_layer_behind_dead_units():
    def dead():
        net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        nn.init.constant_(net[0].bias, -100.0)
        return net

    problem = problem_of(dead)
    with pytest.raises(ValueError, match="no row has a gradient in") as error:
        DataInf().prepare(problem)
    part = with_advised_parameters(problem, str(error.value))
    assert scores(DataInf(), part).norm() > 0


def test_parameters_of_a_branch_that_the_first_row_does_not_take_are_used():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, X):
            return torch.stack([(self.one if x[0] > X0 else self.other)(x) for x in X])

    X0 = float(X[0, 0])
    DataInf().check_model(problem_of(Sometimes), None)


def test_a_layer_that_does_not_fit_into_memory(monkeypatch):
    def wide():
        return nn.Sequential(nn.Linear(4, 50), nn.Tanh(), nn.Linear(50, 3))

    problem = problem_of(wide)
    monkeypatch.setattr("sam_attribution.linalg._memory.free_memory", lambda device: 70_000.0)
    part = with_advised_parameters(problem, error_of(EKFAC(), problem))
    EKFAC().check_model(part, None)
    assert 0 < len(part.selected) < problem.layout.size


class Focal(nn.Module):
    """Not convex in the logits."""

    reduction = "mean"

    def forward(self, logits, y):
        log_p = logits.log_softmax(1)[torch.arange(len(y)), y]
        losses = -((1 - log_p.exp()) ** 2) * log_p
        return losses if self.reduction == "none" else losses.mean()


LOSSES = {
    "bends down": (Focal, "criterion Focal is not convex"),
    "linear": (lambda: nn.MultiMarginLoss(), "criterion MultiMarginLoss has no second"),
}


@pytest.mark.parametrize("method", [EKFAC(), InfluenceFunction(curvature="ggn")])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_without_a_gauss_newton_matrix(method, loss):
    make, words = LOSSES[loss]
    problem = problem_of(lambda: nn.Linear(4, 3), row_loss=GenericRows(make()))
    message = error_of(method, problem)
    assert words in message
    advised = re.findall(r"InfluenceFunction\((?:[^()]|\(\))*\)", message)
    assert advised
    for each in advised:
        other = eval(each, {"InfluenceFunction": InfluenceFunction, "GMRES": GMRES})
        assert scores(other.set_params(damping=1.0), problem).norm() > 0


class Cubic(nn.Module):
    """It has one derivative, so that curvature is refused."""

    def __init__(self):
        super().__init__()
        self.layer, self.cubed = nn.Linear(4, 3), Cubed()

    def forward(self, X):
        return self.cubed(self.layer(X))


def named(name):
    return METHODS[name]()


# method, the part of its message that is advice, and the code that takes it
TAKEN = {
    "another solver": (HIF(solver=CG()), r"GMRES\(\)", "HIF(solver={}, damping=1.0)"),
    "another variant": (HIF(solver=CG()), r"HIF\(.*?\)", "{}.set_params(solver=CG(), damping=1.0)"),
    "an influence": (RelatIF(HIF()), r'HIF\("fast"\)', "RelatIF({}.set_params(damping=1.0))"),
    "damping": (EKFAC(damping=0.0), r'damping="auto"', "EKFAC({})"),
    "ridge": (TRAK(proj_dim=None, ridge=0.0), r'ridge="auto"', "TRAK(proj_dim=None, {})"),
    "no curvature": (HIF(), r'"trak"', "named({})"),
}


@pytest.mark.filterwarnings("ignore:the SAM Jacobian")
@pytest.mark.parametrize("case", TAKEN)
def test_advice_about_settings(case):
    method, pattern, code = TAKEN[case]
    problem = problem_of(lambda: nn.Linear(4, 3), rho=0.1, weight_decay=0.0)
    if case == "no curvature":
        problem = problem_of(Cubic)
    with pytest.raises(ValueError, match=pattern) as error:
        scores(method, problem)
    advised = eval(code.format(re.search(pattern, str(error.value))[0]), globals())
    assert scores(advised, problem).norm() > 0


def test_advice_for_a_head_that_is_used_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 3), nn.Linear(3, 3)

        def forward(self, X):
            return self.head(torch.tanh(self.body(X)) * self.head.weight.sum())

    net = SAMClassifier(Twice, max_epochs=1, batch_size=8, random_state=0)
    with pytest.raises(ValueError, match="is used once") as error:
        SAMInfluence(net, method="grad-dot", parameters="head").fit(X.numpy(), y.numpy())
    (setting,) = re.findall(r"parameters=(\[.*?\])", str(error.value))
    advised = SAMInfluence(net, method="grad-dot", parameters=eval(setting), random_state=0)
    assert np.isfinite(advised.fit(X.numpy(), y.numpy()).scores_).any()
