"""What holds for SGD holds for other optimizers, for 4-D images and for a Pipeline."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import GIF, HIF, TracIn
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.models import SmallCNN, batch_gradients, images, row_gradients, tabular

SMALL = {"max_epochs": 3, "batch_size": 8, "random_state": 0, "rho": 0.1}
ADAM = {"optimizer": torch.optim.Adam, "lr": 0.01, "optimizer__weight_decay": 0.1}
ADAMW = {"optimizer": torch.optim.AdamW, "lr": 0.01, "optimizer__weight_decay": 0.1}
TABLE, PICTURES = tabular(40)[:2], images(40)

KINDS = {
    "adam": (lambda **s: SAMClassifier(**SMALL, **ADAM, **s), TABLE),
    "adamw": (lambda **s: SAMClassifier(**SMALL, **ADAMW, **s), TABLE),
    "images": (lambda **s: SAMClassifier(SmallCNN, **SMALL, **s), PICTURES),
    "images, adam": (lambda **s: SAMClassifier(SmallCNN, **SMALL, **ADAM, **s), PICTURES),
    "pipeline, adam": (
        lambda **s: make_pipeline(
            FunctionTransformer(lambda X: 2 * X), SAMClassifier(**SMALL, **ADAM, **s)
        ),
        TABLE,
    ),
    "pipeline of images": (
        lambda **s: make_pipeline(
            FunctionTransformer(lambda X: 2 * X), SAMClassifier(SmallCNN, **SMALL, **s)
        ),
        PICTURES,
    ),
}


def influence(kind, dtype="float64", **settings):
    estimator, (X, y) = KINDS[kind][0](dtype=dtype), KINDS[kind][1]
    held_out = ValidationData(-X[:12], y[:12])
    return SAMInfluence(estimator, validation=held_out, **settings).fit(X, y), X, y


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_checkpoints", [3, None])
def test_gif_is_the_sum_over_replayed_states_of_explicit_products(kind, n_checkpoints):
    fitted, _, y = influence(kind, method=GIF(n_checkpoints=n_checkpoints))
    problem = fitted.attributions_[0].problem
    classifier, rows, codes = problem.path._classifier, problem.X, problem.y
    states = list(classifier.replay(rows.numpy(), y))
    leaf = problem.params.clone().requires_grad_()
    X_val = -rows[:12]
    value = problem.row_loss.per_sample(problem.logits(leaf, problem.buffers, X_val), codes[:12])
    v = torch.autograd.grad(value.mean(), leaf)[0]
    expected = torch.zeros(40, dtype=torch.float64)
    rate = 0.01 if "adam" in kind else 0.1
    for t in range(15) if n_checkpoints is None else (2, 7, 12):
        batch = torch.as_tensor(classifier.trajectory_.schedule[t].indices)
        w, buffers = states[t].params, states[t].buffers
        g = batch_gradients(problem, w, buffers, batch).mean(0)
        moved = w + 0.1 * g / g.norm()
        if n_checkpoints is None:
            gradients = batch_gradients(problem, moved, buffers, batch)
            expected[batch] += rate * gradients @ v / len(batch)
        else:
            gradients = row_gradients(problem, moved, buffers)[torch.arange(40), codes]
            expected += 5 * rate * gradients @ v / 40
    np.testing.assert_allclose(fitted.scores_, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [GIF(), TracIn(), HIF(damping=0.5)], ids=repr)
@pytest.mark.filterwarnings("ignore:AdamW's decoupled weight decay")
def test_the_four_views_of_a_score_agree(kind, method):
    fitted, X, y = influence(kind, method=method)
    queries = fitted.attribute(-X[:12], y[:12])
    np.testing.assert_allclose(queries.mean(0), fitted.scores_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(fitted.score_samples(X, y), fitted.scores_, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(fitted.transform(X), fitted.transform_train_, rtol=1e-8, atol=1e-14)
    assert np.abs(fitted.scores_).max() > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*((kind, "float64") for kind in KINDS), ("adamw", "float32"), ("images", "float32")],
)
def test_batch_size_does_not_matter(kind, dtype):
    first, *others = (
        influence(kind, dtype, batch_size=size)[0].transform_train_ for size in ("auto", 7)
    )
    tolerance = 1e-6 if dtype == "float32" else 1e-10
    for other in others:
        assert np.abs(other - first).max() <= tolerance * np.abs(first).max()
