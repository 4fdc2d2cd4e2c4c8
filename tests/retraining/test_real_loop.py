"""Leaving rows out by the net's own steps, against pure steps and against loops in plain torch."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from sam_attribution.dynamics import SGD, NoFunctionalForm
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.methods import Unrolled
from sam_attribution.problem import Queries, problem_from_estimator
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from sam_attribution.training import (
    ConformantNet,
    SAMClassifier,
    SAMMixin,
    bare_copy,
    derived_seed,
)
from tests.models import tabular
from tests.retraining.by_hand import TRAININGS, data_of
from tests.retraining.test_further_training import ONES, X_query, plain_loop, queries_of, trained
from tests.training.test_foreign_optimizers import SignDescent

X, y, _ = tabular(40)
X_val, y_val, _ = tabular(15, seed=1)
SETTINGS = {"max_epochs": 2, "batch_size": 12, "random_state": 0, "dtype": "float64", "rho": 0.1}
ROWS = [2, 17]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))


def fitted(kind=SAMClassifier, **settings):
    return kind(network(), **SETTINGS | settings).fit(X, y)


def validated(clf, problem):
    """The mean loss on held-out rows."""
    everyone = (torch.arange(len(y_val)),)
    return Queries(problem, *clf.to_tensors(X_val, y_val), problem.row_loss.per_sample, everyone)


def scores_by(method, clf):
    problem = problem_from_estimator(clf, X, y)
    prepared = method.prepare(problem)
    return prepared.scores(validated(clf, problem))[ROWS, 0].numpy(), prepared.diagnostics


CYCLE = LRScheduler(OneCycleLR, max_lr=0.1, total_steps=9, step_every="batch")
BOTH = {name: TRAININGS[name] for name in ("nesterov", "weighted", "batch norm", "dropout", "adam")}
BOTH["parts"] = BOTH["weighted"] | {"m_sharpness": 4}
BOTH["cycled"] = {"optimizer__momentum": 0.9, "callbacks": [CYCLE, GradientNormClipping(0.3)]}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_both_forms_agree_to_rounding(name):
    settings = {k: v for k, v in BOTH[name].items() if k != "sample_weight"}
    rows, labels, weight = data_of(BOTH[name])
    clf = SAMClassifier(**SETTINGS | settings).fit(rows, labels, sample_weight=weight)
    problem = problem_from_estimator(clf, rows, labels, weight)
    queries = Queries(
        problem, problem.X[:9], problem.y[:9], problem.row_loss.per_sample, (torch.arange(9),)
    )
    effects = [
        LeaveOneOut(rows=ROWS, real_loop=real).prepare(problem).group_effects(queries)
        for real in (True, False)
    ]
    torch.testing.assert_close(*effects, rtol=1e-9, atol=1e-14)
    assert effects[0].abs().min() > 1e-6


def add_sam_gradients(params, loss):
    """Add the gradient at w + 0.1 g / |g| to ``.grad``; the loss at w."""
    w, value = [p.detach().clone() for p in params], loss()
    g = torch.autograd.grad(value, params)
    norm = torch.cat([part.flatten() for part in g]).norm()
    with torch.no_grad():
        for p, part in zip(params, g, strict=True):
            p += 0.1 * part / norm
    loss().backward()
    with torch.no_grad():
        for p, before in zip(params, w, strict=True):
            p.copy_(before)
    return value


def by_hand(clf, row, make, clip=None, n_gathered=1):
    """V after the recorded training with weight 0 for a row, in plain torch."""
    recorded, module = clf.trajectory_, copy.deepcopy(clf.module_).train()
    params = list(module.parameters())
    nn.utils.vector_to_parameters(recorded.states[0].params.clone(), params)
    optimizer, (inputs, labels) = make(params), clf.to_tensors(X, y)
    s = torch.ones(40, dtype=torch.float64)
    if row is not None:
        s[row] = 0
    for number, step in enumerate(recorded.schedule):
        rows = torch.as_tensor(step.indices)

        def loss(rows=rows, number=number):
            seed = np.random.SeedSequence([recorded.seed, number]).generate_state(1)[0]
            torch.default_generator.manual_seed(int(seed))
            losses = nn.functional.cross_entropy(
                module(inputs[rows]), labels[rows], reduction="none"
            )
            return (s[rows] * losses).sum() / len(rows)

        def gradients(loss=loss, number=number):
            if number % n_gathered == 0:
                optimizer.zero_grad()
            value = add_sam_gradients(params, loss)
            if clip:
                nn.utils.clip_grad_value_(params, clip)
            return value

        if (number + 1) % n_gathered:
            gradients()
        else:
            optimizer.step(gradients)
    rows, labels = clf.to_tensors(X_val, y_val)
    return float(nn.functional.cross_entropy(module.eval()(rows), labels).detach())


class ClipValue(Callback):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        nn.utils.clip_grad_value_([p for _, p in named_parameters], 0.02)


class Gathering(SAMClassifier):
    """Steps with the summed gradients of two batches."""

    def is_first(self):
        return len(self.history[-1, "batches"]) % 2 == 1

    def _zero_grad_optimizer(self, set_to_none=None):
        if self.is_first():
            super()._zero_grad_optimizer(set_to_none)

    def _step_optimizer(self, step_fn):
        if self.is_first():
            step_fn()
        else:
            super()._step_optimizer(step_fn)


NO_FORM = {
    # what trains, torch's optimizer of the loop, what else the loop does, the cause
    "rmsprop": (
        {"optimizer": torch.optim.RMSprop, "lr": 0.01, "optimizer__momentum": 0.5},
        partial(torch.optim.RMSprop, lr=0.01, momentum=0.5), {}, "RMSprop has no functional form",
    ),
    "amsgrad": (
        {"optimizer": torch.optim.Adam, "lr": 0.02, "optimizer__amsgrad": True},
        partial(torch.optim.Adam, lr=0.02, amsgrad=True), {}, r"Adam\(amsgrad=True\) has no",
    ),
    "lbfgs": (
        {"optimizer": torch.optim.LBFGS, "lr": 0.05, "optimizer__max_iter": 3},
        partial(torch.optim.LBFGS, lr=0.05, max_iter=3), {}, "LBFGS has no functional form",
    ),
    "by hand": (
        {"optimizer": SignDescent, "lr": 0.01},
        partial(SignDescent, lr=0.01), {}, "SignDescent has no functional form",
    ),
    "value": (
        {"callbacks": [ClipValue()], "lr": 0.1},
        partial(torch.optim.SGD, lr=0.1), {"clip": 0.02}, "ClipValue changes gradients otherwise",
    ),
    "gathering": (
        {"kind": Gathering, "optimizer__momentum": 0.9, "lr": 0.1},
        partial(torch.optim.SGD, lr=0.1, momentum=0.9), {"n_gathered": 2},
        "Gathering has a _zero_grad_optimizer of its own",
    ),
}  # fmt: skip


def unrolled(clf):
    problem = problem_from_estimator(clf, X, y)
    return list(Unrolled(check=None).prepare(problem).probes(validated(clf, problem)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_FORM)
def test_what_has_no_functional_form_is_a_loop_of_plain_torch(name):
    settings, make, loop, cause = NO_FORM[name]
    clf = fitted(**settings)
    with pytest.warns(AttributionWarning, match=f"one model at a time, by the net's own .*{cause}"):
        found, diagnostics = scores_by(LeaveOneOut(rows=ROWS), clf)
    with torch.random.fork_rng():
        values = [by_hand(clf, row, make, **loop) for row in (None, *ROWS)]
    np.testing.assert_allclose(found, np.subtract(values[1:], values[0]), rtol=1e-9, atol=1e-12)
    assert np.abs(found).min() > 1e-5
    assert diagnostics["retrained_by"].startswith("the net's own steps: ")
    error, text = NoFunctionalForm, '"loo"'
    if name == "gathering":  # the sweep compares its steps with those of training
        error, text = ValueError, "repeating step"
    with pytest.raises(error, match=text):
        unrolled(clf)
    with pytest.raises(NoFunctionalForm):
        LeaveOneOut(rows=ROWS, real_loop=False).prepare(problem_from_estimator(clf, X, y))


@pytest.mark.slow
def test_processes():
    clf = fitted(optimizer=torch.optim.RMSprop, lr=0.01)
    found, expected = (
        scores_by(LeaveOneOut(rows=ROWS, real_loop=True, n_jobs=n_jobs), clf)[0]
        for n_jobs in (2, None)
    )
    np.testing.assert_array_equal(found, expected)


def test_models_of_the_two_forms_are_kept_apart(tmp_path):
    clf = fitted()
    for real_loop in (True, False):
        scores_by(LeaveOneOut(rows=ROWS, real_loop=real_loop, resume_dir=tmp_path), clf)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_folders_and_seeds(tmp_path):
    clf = fitted(optimizer=torch.optim.RMSprop, lr=0.01)
    expected, _ = scores_by(LeaveOneOut(rows=ROWS, real_loop=True), clf)
    method = LeaveOneOut(rows=ROWS, real_loop=True, resume_dir=tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(scores_by(method, clf)[0], expected)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("*.safetensors"))) == 3
    seeds = LeaveOneOut(rows=ROWS, real_loop=True, n_seeds=2).prepare(
        problem_from_estimator(clf, X, y)
    )
    found = seeds.scores_of_seeds(validated(clf, problem_from_estimator(clf, X, y)))[:, ROWS, 0]
    np.testing.assert_array_equal(found[0], expected)
    assert (found[0] - found[1]).abs().min() > 1e-6


class OwnLoss(SAMClassifier):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return nn.functional.cross_entropy(y_pred, y_true)


class Remembering(SAMClassifier):
    """Keeps something from step to step that no training begins anew."""

    n_calls = 0

    def train_step_single(self, batch, **fit_params):
        step = super().train_step_single(batch, **fit_params)
        self.n_calls += 1
        for p in self.module_.parameters():
            p.grad /= self.n_calls
        return step


def test_nets_whose_steps_cannot_be_repeated_are_refused():
    with pytest.raises(ValueError, match=r"without row 2, .* without the get_loss of SAMClassif"):
        scores_by(LeaveOneOut(rows=ROWS, real_loop=True), fitted(OwnLoss))
    clf = fitted(Remembering)
    with pytest.warns(AttributionWarning), pytest.raises(ValueError, match="Reset that in on_tr"):
        scores_by(LeaveOneOut(rows=ROWS), clf)
    wild = trained().fit(X, y)
    with pytest.raises(ValueError, match=r"with every row, training fails: .* at step"):
        FurtherTraining(lr=1e300, n_epochs=2, rows=[0], real_loop=True).values(
            queries_of(wild), [2]
        )


def test_the_net_is_left_alone():
    clf = fitted(callbacks=[ClipValue()])
    before = copy.deepcopy(clf.module_.state_dict())
    history, stream = len(clf.history[-1, "batches"]), torch.get_rng_state()
    with pytest.warns(AttributionWarning):
        scores_by(LeaveOneOut(rows=ROWS), clf)
    assert all(map(torch.equal, before.values(), clf.module_.state_dict().values()))
    assert len(clf.history[-1, "batches"]) == history
    assert torch.equal(torch.get_rng_state(), stream)


FURTHER = {
    "class": torch.optim.RMSprop,
    "partial": partial(torch.optim.RMSprop, alpha=0.9),
    "instance": torch.optim.RMSprop([torch.zeros(1)], lr=0.02, alpha=0.9),
}


@pytest.mark.parametrize("given", FURTHER)
def test_further_training_by_any_optimizer_is_a_plain_loop(given):
    clf = trained().fit(X, y)
    rate = 0.02 if given == "instance" else 0.01
    method = FurtherTraining(n_epochs=1, n_seeds=1, rows=[7], random_state=0,
                             optimizer=FURTHER[given], verbose=0)  # fmt: skip
    with pytest.warns(AttributionWarning, match="RMSprop has no functional form"):
        found = method.values(queries_of(clf), [1])
    make = partial(torch.optim.RMSprop, lr=rate, alpha=0.99 if given == "class" else 0.9)
    loop = {"n_epochs": 1, "batch_size": 16, "rho": 0.1, "a": ONES}
    start = plain_loop(clf, [], 0, make, **loop | {"n_epochs": 0})
    expected = [plain_loop(clf, row, 0, make, **loop) - start for row in ([7], [])]
    np.testing.assert_allclose(found.values[0, 0, :, 0], expected[0], atol=1e-10)
    np.testing.assert_allclose(found.full[0, 0], expected[1], atol=1e-10)
    assert np.abs(found.adjusted()).max() > 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer__momentum": 0.9, "optimizer__weight_decay": 0.01},
        {"optimizer": torch.optim.RMSprop, "lr": 0.01},
    ],
)
def test_further_training_by_the_nets_own_optimizer(settings):
    """A known one gives what its function gives; another one has no memory of the training."""
    clf = trained(**settings).fit(X, y)
    options = {"n_epochs": 1, "n_seeds": 1, "rows": [7], "random_state": 0}
    found = FurtherTraining(real_loop=True, **options).values(queries_of(clf), [1])
    if "optimizer" not in settings:
        expected = FurtherTraining(real_loop=False, **options).values(queries_of(clf), [1])
    else:
        expected = FurtherTraining(
            real_loop=True, optimizer=torch.optim.RMSprop, lr=0.01, **options
        ).values(queries_of(clf), [1])
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9, atol=1e-13)


def test_known_torch_optimizers_go_together():
    queries = queries_of(trained().fit(X, y))
    options = {"n_epochs": 1, "n_seeds": 1, "rows": [7], "random_state": 0}
    given = torch.optim.SGD([torch.zeros(1)], lr=0.3, momentum=0.5)
    method = FurtherTraining(optimizer=given, **options)
    expected = FurtherTraining(optimizer=SGD(momentum=0.5), lr=0.3, **options)
    found = method.values(queries, [1])
    np.testing.assert_array_equal(found.values, expected.values(queries, [1]).values)
    assert method.prepare(queries.problem).diagnostics["retrained_by"] == "pure steps"


BAD = [
    (SGD, TypeError, "optimizer must make a torch Optimizer, got SGD"),
    (partial(torch.optim.SGD, maximize=True), ValueError, "minimise the loss, got maximize=True"),
    (lambda: None, TypeError, "cannot be made from a list of parameters"),
    (torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(2)], "lr": 1.0}]),
     ValueError, "parameter groups with different settings"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "error", "text"), BAD)
def test_optimizers_that_cannot_go_on_are_named_at_the_door(given, error, text):
    problem = queries_of(trained().fit(X, y)).problem
    with pytest.raises(error, match=text):
        FurtherTraining(optimizer=given).check_model(problem, None)


def test_functions_of_vectors_do_not_fit_the_nets_own_loop():
    problem = queries_of(trained(callbacks=[ClipValue()]).fit(X, y)).problem
    with pytest.raises(ValueError, match="is a function of vectors, and this training"):
        FurtherTraining(optimizer=SGD(), rows=[0]).prepare(problem)


@pytest.mark.parametrize("real", [True, False])
def test_steps_are_asked_as_epochs_are(real):
    queries = queries_of(trained().fit(X, y))
    method = FurtherTraining(n_epochs=2, n_seeds=1, rows=[7], random_state=0, real_loop=real)
    found = method.values(queries, evaluate_at_steps=[1, 3, 6])
    epochs = method.values(queries, evaluate_at=[1, 2])
    assert (found.unit, epochs.unit) == ("steps", "epochs")
    np.testing.assert_array_equal(found.amounts, [1, 3, 6])
    np.testing.assert_array_equal(found.values[1:], epochs.values)
    assert np.abs(found.full[0] - found.full[1]).max() > 1e-6
    assert found.values.shape == (3, 1, len(X_query), 1)


def test_wrong_steps_are_named():
    queries = queries_of(trained().fit(X, y))
    method = FurtherTraining(n_epochs=2, n_seeds=1, rows=[7])
    with pytest.raises(ValueError, match=r"evaluate_at_steps must be ascending steps in 1\.\.6"):
        method.values(queries, evaluate_at_steps=[7])
    with pytest.raises(ValueError, match=r"both given\. Pass epochs, or steps: an epoch has 3"):
        method.values(queries, [1], [3])


@pytest.mark.slow
def test_fixed_points_ask_for_no_optimizer():
    """A fixed point is one of the objective, whatever led there."""
    settings = {"optimizer__weight_decay": 0.1, "batch_size": -1, "max_epochs": 30, "rho": 0.01}
    found = []
    for optimizer in (torch.optim.RMSprop, torch.optim.SGD):
        torch.manual_seed(0)
        clf = SAMClassifier(
            nn.Linear(6, 3), random_state=0, dtype="float64", optimizer=optimizer, lr=0.05,
            callbacks=[ClipValue()], **settings,
        ).fit(X, y)  # fmt: skip
        found.append(scores_by(FixedPoint(rows=ROWS), clf)[0])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_half_precision_is_that_of_training():
    accelerate = pytest.importorskip("accelerate")
    from skorch.hf import AccelerateMixin

    class Half(SAMMixin, AccelerateMixin, ConformantNet):
        pass

    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    settings = {"dtype": "float32", "rho": 0.0, "lr": 0.1, "callbacks__print_log__sink": print}
    clf = fitted(Half, accelerator=accelerator, **settings)
    try:
        with pytest.warns(AttributionWarning, match="training computed in half precision"):
            found, _ = scores_by(LeaveOneOut(rows=ROWS), clf)
    finally:
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    with torch.random.fork_rng():
        values = [in_half_precision(clf, row) for row in (None, *ROWS)]
    np.testing.assert_allclose(found, np.subtract(values[1:], values[0]), atol=2e-6)
    assert np.abs(found).min() > 2e-4


def in_half_precision(clf, row):
    """V after SGD in plain torch with autocast, with weight 0 for a row."""
    recorded, module = clf.trajectory_, bare_copy(clf.module_).train()
    nn.utils.vector_to_parameters(recorded.states[0].params.clone(), module.parameters())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    inputs, labels = clf.to_tensors(X, y)
    s = torch.ones(40)
    if row is not None:
        s[row] = 0
    for number, step in enumerate(recorded.schedule):
        rows = torch.as_tensor(step.indices)
        torch.default_generator.manual_seed(derived_seed(recorded.seed, number))
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = module(inputs[rows])
        losses = nn.functional.cross_entropy(output.float(), labels[rows], reduction="none")
        # half precision rounds each form of the mean in its own way
        loss = losses.mean() if s[rows].all() else (s[rows] * losses).sum() / len(rows)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        rows, labels = clf.to_tensors(X_val, y_val)
        return float(nn.functional.cross_entropy(module.eval()(rows), labels))
