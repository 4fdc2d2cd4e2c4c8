"""Grad-Cos and self-influence, against explicit gradients."""

import numpy as np
import pytest
import torch

from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import GIF, GradCos, SelfInfluence, TracIn
from sam_attribution.probes import CosineProbe, training_scores
from sam_attribution.problem import problem_from_estimator
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.methods.test_baselines import KINDS, gradients_at, scores_of, setting
from tests.models import fitted, fitted_problem, tabular

X, y, _ = tabular()


@pytest.mark.slow
@pytest.mark.parametrize("at", ["w", "w+eps"])
@pytest.mark.parametrize("kind", KINDS)
def test_grad_cos_is_the_cosine_of_final_gradients(kind, at):
    _, problem, queries = setting(kind)
    directions = queries.directions(problem.params, {})
    point = problem.params if at == "w" else ascended(problem, problem.params)
    expected = torch.nn.functional.cosine_similarity(
        gradients_at(problem, point)[:, :, None], directions, dim=1
    )
    torch.testing.assert_close(scores_of(GradCos(at=at), problem, queries), expected)
    assert expected.abs().max() > 0.1


def ascended(problem, w, rows=slice(None)):
    """``w + rho g / ||g||``, g the mean gradient of some rows."""
    g = gradients_at(problem, w)[rows].mean(0)
    return w + problem.rho * g / g.norm()


@pytest.mark.slow
@pytest.mark.parametrize("method", [GradCos, SelfInfluence, TracIn])
def test_the_point_matters_for_rho_above_0_alone(method):
    for rho, same in ((0.0, True), (0.1, False)):
        _, problem, queries = setting(rho=rho)
        first, second = (scores_of(method(at=at), problem, queries) for at in ("w", "w+eps"))
        assert torch.allclose(first, second, rtol=1e-3) == same
    with pytest.raises(ValueError, match="The 'at' parameter of"):
        method(at="eps").prepare(problem)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [{}, {"optimizer__param_groups": [("*weight", {"lr": 0.05})]}])
@pytest.mark.parametrize("at", ["w", "w+eps"])
def test_self_influence_is_minus_the_sum_of_squared_norms(groups, kind, at):
    classifier, problem, queries = setting(kind, **groups)
    rate = problem.path.spread(problem.path.learning_rates[0])
    expected = torch.zeros(40, dtype=torch.float64)
    for middle in (2, 7, 12):
        w, batch = (
            classifier.trajectory_.states[middle].params,
            classifier.trajectory_.schedule[middle],
        )
        point = w if at == "w" else ascended(problem, w, batch.indices)
        gradients = gradients_at(problem, point)
        expected -= 5 * (rate * gradients.square()).sum(1) / 40
    found = scores_of(SelfInfluence(n_checkpoints=3, at=at), problem, queries)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-10, atol=0)


def influence(method, **settings):
    clf = SAMClassifier(max_epochs=3, batch_size=8, dtype="float64", random_state=0)
    held_out = ValidationData(X[:5], y[:5])
    return SAMInfluence(clf, method=method, validation=held_out, **settings).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("method", [TracIn(), GIF(n_checkpoints=None), GradCos()])
def test_self_influence_of_any_method_is_attribute_on_the_own_row(method):
    fitted_influence = influence(method)
    expected = np.diag(fitted_influence.attribute(X, y))
    np.testing.assert_allclose(fitted_influence.self_influence(), expected, rtol=1e-10)
    if isinstance(method, GradCos):
        np.testing.assert_allclose(expected, 1)


@pytest.mark.slow
def test_self_influence_is_that_of_tracin_and_ranks_memorised_rows_lowest():
    own = influence("self-influence")
    np.testing.assert_allclose(own.self_influence(), influence("tracin").self_influence())
    np.testing.assert_array_equal(own.self_influence(), -own.scores_)
    assert (own.scores_ < 0).all()
    # the label that costs a row least is the one that the model gives it
    predicted = own.estimator_.predict(X)
    assert (own.suggest_labels() == predicted).mean() > 0.8


def test_self_influence_answers_no_queries():
    with pytest.raises(ValueError, match="this method scores each row by its own loss"):
        influence("self-influence").attribute(X, y)


@pytest.mark.parametrize("settings", [{"aggregate": "worst-class"}, {"evaluation": "margin"}])
def test_self_influence_has_nothing_to_ask_validation_rows(settings):
    with pytest.raises(ValueError, match='Leave evaluation at "loss" and aggregate at "mean"'):
        influence("self-influence", **settings)


def test_grad_cos_of_fitted_rows_in_float32():
    """Where p_y - 1 rounds to 0, the direction of the gradient is still there."""
    problem = fitted_problem("mlp", dtype="float32", max_epochs=1)
    w = problem.params.clone()
    w[-3:] += torch.tensor([18.0, 0.0, 0.0])  # biases: label 0 with 1 - p of about 1e-8
    wide = fitted_problem("mlp", max_epochs=1)
    directions = torch.randn(len(w), 2, generator=torch.Generator().manual_seed(0))
    found = training_scores(problem, [CosineProbe(w, directions, {})])[:, 0]
    exact = training_scores(wide, [CosineProbe(w.double(), directions.double(), {})])[:, 0]
    assert (1 - wide.logits(w.double(), {}, wide.X).softmax(1)[:, 0]).median() < 1e-6
    assert (found - exact).abs().max() < 1e-4 * exact.abs().max()


def test_self_influence_needs_a_recorded_training():
    classifier, X, y, _ = fitted("mlp", trajectory=None)
    problem = problem_from_estimator(classifier, X, y)
    with pytest.raises(ValueError, match='trajectory="auto"'):
        training_scores(problem, SelfInfluence().prepare(problem).probes(None))


@pytest.mark.slow
def test_rows_of_several_splits_are_averaged():
    from sklearn.model_selection import StratifiedKFold

    clf = SAMClassifier(max_epochs=3, batch_size=8, dtype="float64", random_state=0)
    folds = StratifiedKFold(3)
    fitted_influence = SAMInfluence(clf, method="tracin", validation=folds).fit(X, y)
    expected = np.zeros(40)
    for split, (train, _) in enumerate(folds.split(X, y)):
        table = fitted_influence.attribute(X, y, split=split)
        expected[train] += np.diag(table)[train] / 2
    np.testing.assert_allclose(fitted_influence.self_influence(), expected, rtol=1e-10)
