"""Models that diverged, and rows too large: an error with a name, never NaN."""

import contextlib
import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.methods import GradCos, GradDot
from sam_attribution.probes import SquaredNormProbe, training_scores
from sam_attribution.problem import Problem, Queries, evaluation_function
from tests.cases import METHODS
from tests.models import fitted, fitted_problem

OF_FINAL_MODEL = ["datainf", "ekfac", "hif", "hif ggn", "influence function, cg", "relatif", "trak"]


def enlarged(problem, factor):
    module = copy.deepcopy(problem.module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= factor
    return replace(problem, module=module, path=None)


def scores(method, problem, rows=None):
    rows = problem.X if rows is None else rows
    groups = (torch.arange(5),)
    evaluation = evaluation_function("loss", problem.row_loss)
    queries = Queries(problem, rows[:9], problem.y[:9], evaluation, groups)
    return training_scores(problem, method.prepare(problem).probes(queries), given_only=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_named(value):
    module = nn.Sequential(nn.Linear(4, 3)).eval()
    with torch.no_grad():
        module[0].bias[1] = value
    with pytest.raises(ValueError, match=r"parameters \['0.bias'\]: its training diverged.*lr"):
        Problem(module=module, X=torch.ones(2, 4), y=torch.zeros(2).long(), n_classes=3)


def test_a_frozen_net_with_weights_that_overflow_is_refused():
    net, X, y, _ = fitted("mlp", dtype="float32")
    with torch.no_grad():
        for parameter in net.module_.parameters():
            parameter *= 1e25
    for method in ("hif-fast", "grad-dot"):
        influence = SAMInfluence(
            FrozenEstimator(net), method=method, validation=ValidationData(X[:9], y[:9])
        )
        with pytest.raises(ValueError, match=r"rows trained on have a loss that is not finite"):
            influence.fit(X, y)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OF_FINAL_MODEL)
@pytest.mark.parametrize("factor", [1e9, 1e17])
def test_weights_of_any_size_give_finite_scores_or_an_error_by_name(name, factor):
    problem = enlarged(fitted_problem("mlp", dtype="float32"), factor)
    found = None
    with contextlib.suppress(ValueError):
        found = scores(METHODS[name], problem)
    assert found is None or torch.isfinite(found).all()


def test_squares_that_overflow_are_no_zero():
    problem = fitted_problem("mlp", dtype="float32")
    large = replace(problem, X=1e20 * problem.X, path=None)
    with pytest.raises(ValueError, match="queries to the model are not finite"):
        scores(GradCos(), large)
    with pytest.raises(ValueError, match="norms of rows' gradients are not finite"):
        scores(GradCos(), large, rows=problem.X)
    assert torch.isfinite(scores(GradDot(), large, rows=problem.X)).all()
    probe = SquaredNormProbe(large.params, torch.ones_like(problem.params)[:, None], {})
    with pytest.raises(ValueError, match=r"the scores of .* rows are not finite: .* smaller lr"):
        training_scores(large, [probe], given_only=True)
