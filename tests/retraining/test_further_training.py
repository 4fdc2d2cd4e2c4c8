"""Further training against loops in plain torch, leave-one-out of a convex model, and formulas."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from sam_attribution._seeding import draw_seed
from sam_attribution.dynamics import SGD, Adam
from sam_attribution.influence import SAMInfluence
from sam_attribution.perturbation import PNorm
from sam_attribution.problem import Queries, problem_from_estimator
from sam_attribution.retraining import FurtherTraining
from sam_attribution.training import SAMClassifier, batch_schedule, derived_seed
from sam_attribution.validation_data import ValidationData
from tests.convex import SoftmaxRegression
from tests.models import tabular

X, y, weight = tabular(40)
X_query, y_query, _ = tabular(6, seed=1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 3))


def trained(**settings):
    defaults = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "dtype": "float64"}
    defaults |= {"rho": 0.1, "lr": 0.1, "trajectory": None}
    return SAMClassifier(network(), **defaults | settings)


def queries_of(clf, sample_weight=None):
    problem = problem_from_estimator(clf, X, y, sample_weight)
    singles = tuple(torch.arange(6).split(1))
    rows = clf.to_tensors(X_query, y_query)
    return Queries(problem, *rows, problem.row_loss.evaluated, singles)


def plain_loop(clf, removed, number, optimizer, *, n_epochs, batch_size, rho, a):
    """Query losses after further training in plain torch."""
    module, seed = copy.deepcopy(clf.module_).train(), derived_seed(SEED, number)
    optimizer = optimizer(module.parameters())
    inputs, labels = clf.to_tensors(X, y)
    s = torch.ones(40, dtype=torch.float64)
    s[removed] = 0
    step = 0
    for epoch in range(n_epochs):
        for batch in batch_schedule(40, batch_size, epoch, seed):
            gradients_at(module, inputs[batch], labels[batch], s[batch], a[batch], seed, step)
            ascent(module, rho)
            gradients_at(module, inputs[batch], labels[batch], s[batch], a[batch], seed, step)
            with torch.no_grad():
                for p in module.parameters():
                    p.copy_(p.before)
            optimizer.step()
            step += 1
    rows = clf.to_tensors(X_query, y_query)
    module.eval()
    return nn.functional.cross_entropy(module(rows[0]), rows[1], reduction="none").detach().numpy()


def gradients_at(module, inputs, labels, s, a, seed, step):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(derived_seed(seed, step))
        losses = nn.functional.cross_entropy(module(inputs), labels, reduction="none")
    module.zero_grad()
    (s * a * losses).sum().div(a.sum()).backward()


@torch.no_grad()
def ascent(module, rho):
    norm = torch.cat([p.grad.flatten() for p in module.parameters()]).norm()
    for p in module.parameters():
        p.before = p.clone()
        p += rho * p.grad / norm


SEED = draw_seed(0)  # of random_state=0
ONES = torch.ones(40, dtype=torch.float64)
WEIGHTS = torch.as_tensor(weight)

RUNS = {
    # settings of the training, of the further one, torch's optimiser for the loop, weights
    "as trained": (
        {"optimizer__momentum": 0.9, "optimizer__weight_decay": 0.01},
        {},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        {"batch_size": 16, "rho": 0.1, "a": ONES},
    ),
    "another": (
        {"optimizer__momentum": 0.9},
        {"optimizer": Adam(weight_decay=0.1), "lr": 0.01, "batch_size": 9, "rho": 0.3},
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        {"batch_size": 9, "rho": 0.3, "a": ONES},
    ),
    "weighted": (
        {},
        {"lr": 0.05, "batch_size": -1},
        lambda p: torch.optim.SGD(p, lr=0.05),
        {"batch_size": 40, "rho": 0.1, "a": WEIGHTS},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_equals_a_plain_loop(name):
    training, further, optimizer, loop = RUNS[name]
    sample_weight = None if loop["a"] is ONES else weight
    clf = trained(**training).fit(X, y, sample_weight=sample_weight)
    method = FurtherTraining(n_epochs=2, n_seeds=2, rows=[0, 7], random_state=0, **further)
    found = method.values(queries_of(clf, sample_weight), evaluate_at=[1, 2])
    assert found.values.shape == (2, 2, 6, 2)
    start = plain_loop(clf, [], 0, optimizer, n_epochs=0, **loop)
    for t, r in np.ndindex(2, 2):
        for column, row in enumerate([0, 7]):
            expected = plain_loop(clf, [row], r, optimizer, n_epochs=t + 1, **loop) - start
            np.testing.assert_allclose(found.values[t, r, :, column], expected, atol=1e-10)
        expected = plain_loop(clf, [], r, optimizer, n_epochs=t + 1, **loop) - start
        np.testing.assert_allclose(found.full[t, r], expected, atol=1e-10)
    assert np.abs(found.adjusted()).max() > 1e-4


def test_adjustments_means_and_errors_are_the_formulas():
    found = FurtherTraining(n_epochs=3, n_seeds=4, rows=range(5), random_state=0).values(
        queries_of(trained().fit(X, y)), evaluate_at=[1, 3]
    )
    for t, q, k in np.ndindex(2, 6, 5):
        without, full = found.values[t, :, q, k], found.full[t, :, q]
        others = found.values[t, :, q].mean(1)
        for adjustment, each in {"full-data": without - full, "mean": without - others}.items():
            mean = np.float64(found.curves(adjustment)[t, q, k])
            error = found.standard_errors(adjustment)[t, q, k]
            np.testing.assert_allclose(mean, each.sum() / 4, atol=1e-14)
            np.testing.assert_allclose(error, np.sqrt(each.var(ddof=1) / 4), atol=1e-14)


@pytest.mark.slow
def test_pairing_takes_most_of_the_noise_out():
    """Of the variance over seeds, in batch order and masks, one part in fifty is left."""
    found = FurtherTraining(n_epochs=3, n_seeds=6, rows=range(10), random_state=0).values(
        queries_of(trained().fit(X, y)), evaluate_at=[3]
    )
    paired = found.values - found.full[..., None]
    unpaired = found.values - np.roll(found.full, 1, axis=1)[..., None]
    assert paired.var(1).mean() < 0.02 * unpaired.var(1).mean()


@pytest.mark.slow
def test_convergence_on_a_convex_problem_is_exact_leave_one_out():
    convex = SoftmaxRegression.draw(3, 60, 2, 3, 0.05, 0.1, PNorm(2))
    clf = SAMClassifier(
        nn.Linear(2, 3), rho=0.05, lr=0.5, batch_size=-1, max_epochs=5, dtype="float64",
        optimizer__weight_decay=0.1, random_state=0,
    ).fit(convex.X.numpy(), convex.y.numpy())  # fmt: skip
    problem = problem_from_estimator(clf, convex.X.numpy(), convex.y.numpy())
    fresh = SoftmaxRegression.draw(4, 5, 2, 3, 0.05, 0.1, PNorm(2))
    singles = tuple(torch.arange(5).split(1))
    queries = Queries(problem, fresh.X, fresh.y, problem.row_loss.evaluated, singles)
    method = FurtherTraining(n_epochs=400, n_seeds=1, rows=[0, 10, 59])
    found = method.values(queries, evaluate_at=[400])
    root = convex.root(convex.minimiser(), convex.ones())
    for column, row in enumerate(method.rows):
        s = convex.ones()
        s[row] = 0
        left_out = convex.root(root, s)
        assert convex.sam_gradient(left_out, s).norm() < 1e-12
        exact = queries.values(left_out, {}) - queries.values(root, {})
        np.testing.assert_allclose(found.curves()[0, :, column], exact, atol=1e-9)
    assert np.abs(found.curves()).min() > 1e-6


@pytest.mark.slow
def test_nothing_depends_on_the_stacks():
    queries = queries_of(trained().fit(X, y))
    one, other = (
        FurtherTraining(
            n_epochs=2, n_seeds=2, rows=range(5), models_at_once=size, n_jobs=jobs, random_state=0
        )
        .values(queries, [1, 2])
        .values
        for size, jobs in ((1, None), (4, 2))
    )
    np.testing.assert_allclose(one, other, atol=1e-13)


def test_scores_are_on_the_device_of_the_problem():
    queries = queries_of(trained().fit(X, y))
    prepared = FurtherTraining(n_epochs=1, n_seeds=2, rows=[2, 11]).prepare(queries.problem)
    with torch.device("meta"):  # where tensors of no device of their own would go
        found = prepared.scores(queries), prepared.standard_errors(queries)
    assert [each.device.type for each in found] == ["cpu", "cpu"]


@pytest.mark.slow
@pytest.mark.parametrize("adjustment", ["full-data", "mean"])
def test_scores_of_an_influence_are_the_adjusted_values_at_the_end(adjustment):
    method = FurtherTraining(
        n_epochs=2, n_seeds=3, rows=[2, 11, 30], adjustment=adjustment, random_state=0
    )
    clf = trained().fit(X, y)
    before = copy.deepcopy(clf.module_.state_dict())
    influence = SAMInfluence(
        FrozenEstimator(clf), method=method, validation=ValidationData(X_query, y_query)
    ).fit(X, y)
    expected = method.values(queries_of(clf), [1, 2]).curves(adjustment)[-1]
    np.testing.assert_allclose(influence.scores_[[2, 11, 30]], expected.mean(0), atol=1e-13)
    assert np.isnan(np.delete(influence.scores_, [2, 11, 30])).all()
    attributed = influence.attribute(X_query, y_query)
    np.testing.assert_allclose(attributed[:, [2, 11, 30]], expected, atol=1e-13)
    assert all(map(torch.equal, before.values(), clf.module_.state_dict().values()))
    assert np.isfinite(influence.standard_errors_[[2, 11, 30]]).all()
    assert influence.diagnostics_["n_retrained"][0] == 9


def test_rows_that_training_held_out_are_in_no_batch():
    from skorch.dataset import ValidSplit

    clf = trained(train_split=ValidSplit(0.25, stratified=True)).fit(X, y)
    problem = problem_from_estimator(clf, X, y)
    held_out = np.flatnonzero(~problem.visited.numpy())
    influence = SAMInfluence(
        FrozenEstimator(clf), method=FurtherTraining(n_epochs=1, n_seeds=1),
        validation=ValidationData(X_query, y_query),
    ).fit(X, y)  # fmt: skip
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(influence.scores_)), held_out)
    assert len(held_out) == 10


class Counting(nn.Module):
    """Moves a buffer of its own in training."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, inputs):
        if self.training:
            self.seen += 1
        return self.layer(inputs)


@pytest.mark.slow
def test_errors_name_what_is_wrong():
    queries = queries_of(trained().fit(X, y))
    with pytest.raises(ValueError, match="rows must be a list of positions"):
        FurtherTraining(rows=[0.5]).values(queries, [1])
    with pytest.raises(ValueError, match="rows lists row 7 twice"):
        FurtherTraining(rows=[7, 3, 7]).values(queries, [1])
    with pytest.raises(ValueError, match=r"rows must be positions in 0\.\.39, got 40"):
        FurtherTraining(rows=[2, 40]).values(queries, [1])
    head = dataclasses.replace(queries.problem, selected=torch.arange(3))
    with pytest.raises(ValueError, match='use parameters="all"'):
        FurtherTraining().prepare(head)
    with pytest.raises(ValueError, match="with every row, further training with seed 0"):
        FurtherTraining(lr=1e300, n_epochs=1, rows=[0]).values(queries, [1])
    with pytest.raises(ValueError, match='adjustment="mean" compares rows'):
        FurtherTraining(rows=[3], adjustment="mean").prepare(queries.problem)
    with pytest.raises(
        ValueError, match=r"evaluate_at must be ascending epochs in 1\.\.10, got \[0, 5\]"
    ):
        FurtherTraining().values(queries, [0, 5])
    with pytest.raises(ValueError, match="'lr' parameter"):
        FurtherTraining(lr=0).prepare(queries.problem)
    clf = trained(optimizer=torch.optim.RMSprop, lr=0.01).fit(X, y)
    with pytest.raises(ValueError, match="RMSprop"):
        FurtherTraining(real_loop=False).values(queries_of(clf), [1])
    FurtherTraining(optimizer=SGD(), lr=0.1, n_seeds=1, rows=[0]).values(queries_of(clf), [1])
    clf = SAMClassifier(Counting(), max_epochs=1, dtype="float64", random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="buffer 'seen'"):
        FurtherTraining(real_loop=False).values(queries_of(clf), [1])
    with pytest.raises(ValueError, match="adjustment must be one of"):
        FurtherTraining(n_epochs=1, rows=[0]).values(queries, [1]).curves("none")


GROUPS = [[0, 7, 20], [3, 7]]


def group_training(**settings):
    return FurtherTraining(n_epochs=2, n_seeds=2, groups=GROUPS, random_state=0, **settings)


def test_groups_are_left_out_together():
    training, further, optimizer, loop = RUNS["as trained"]
    clf = trained(**training).fit(X, y)
    found = group_training(**further).values(queries_of(clf), evaluate_at=[2])
    start = plain_loop(clf, [], 0, optimizer, n_epochs=0, **loop)
    assert found.values.shape == (1, 2, 6, 2)
    assert [rows.tolist() for rows in found.groups] == GROUPS
    assert found.rows.tolist() == [0, 7, 20, 3, 7]
    for seed, group in np.ndindex(2, 2):
        expected = plain_loop(clf, GROUPS[group], seed, optimizer, n_epochs=2, **loop) - start
        np.testing.assert_allclose(found.values[0, seed, :, group], expected, atol=1e-10)


@pytest.mark.parametrize("adjustment", ["full-data", "mean"])
def test_a_row_scores_its_share_of_the_effect_of_its_group(adjustment):
    clf = trained().fit(X, y)
    method = group_training(adjustment=adjustment)
    found = method.values(queries_of(clf), evaluate_at=[2])
    assert FurtherTraining(n_epochs=1, rows=[3]).values(queries_of(clf)).groups is None
    first, second = found.curves(adjustment)[0].mean(0)  # over the queries
    influence = SAMInfluence(
        FrozenEstimator(clf), method=method, validation=ValidationData(X_query, y_query)
    ).fit(X, y)
    shares = {0: first / 3, 20: first / 3, 3: second / 2, 7: (first / 3 + second / 2) / 2}
    np.testing.assert_allclose(influence.scores_[[*shares]], [*shares.values()], atol=1e-13)
    assert np.isnan(np.delete(influence.scores_, [*shares])).all()
    assert influence.diagnostics_["n_retrained"][0] == 4


def test_groups_that_cannot_be_left_out_are_named():
    queries = queries_of(trained().fit(X, y))
    for settings, message in (
        ({"rows": [1], "groups": GROUPS}, "rows and groups were both given"),
        ({"groups": [[0, 1], [40, 2]]}, r"groups: group 1 must be positions in 0\.\.39, got 40"),
        ({"groups": np.zeros(40, int)}, "group 0 holds all 40 rows trained on"),
        ({"groups": GROUPS[:1], "adjustment": "mean"}, "compares rows or groups .* got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            FurtherTraining(n_epochs=1, **settings).prepare(queries.problem)
