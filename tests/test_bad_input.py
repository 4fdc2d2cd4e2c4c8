"""What bad input gets, item by item of DESIGN.md, section 5.

Damaged files: training/test_store.py. Other data than were trained on: training/test_trajectory.py
and test_resume.py. A row's batches unknown to the loader: also training/test_schedule.py. What
anything else gets: test_junk_input.py.
"""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader

from sam_attribution.comparison import compare, further_training
from sam_attribution.detection import MislabelDetector, label_issues
from sam_attribution.filtering import FilteredClassifier, MislabelFilter
from sam_attribution.influence import SAMInfluence
from sam_attribution.linalg import GMRES, Dense, Direct
from sam_attribution.methods import GIF, HIF, Unrolled
from sam_attribution.perturbation import Adaptive, PNorm
from sam_attribution.problem import Problem
from sam_attribution.retraining import LeaveOneOut
from sam_attribution.review import apply_decisions
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData
from tests.models import tabular

X, y, _ = tabular()
X_val, y_val, _ = tabular(20, seed=1)
HELD_OUT = ValidationData(X_val, y_val)
SMALL = {"max_epochs": 2, "batch_size": 8, "random_state": 0}


def classifier(module=None, **settings):
    return SAMClassifier(module, **SMALL | settings)


def regressor(module=None, **settings):
    return SAMRegressor(module, **SMALL | settings)


def influence(estimator=None, **settings):
    return SAMInfluence(estimator or classifier(), **{"random_state": 0, **settings})


def spoilt(array, value=np.nan):
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


ROWS = {
    "NaN in X": ((spoilt(X), y), "Input X contains NaN"),
    "inf in X": ((spoilt(X, np.inf), y), "Input X contains infinity"),
    "no float32": ((spoilt(X, 1e300), y), "Input X contains infinity or a value too large"),
    "NaN in y": ((X, spoilt(y)), "Input y contains NaN"),
    "NaN in weights": ((X, y, spoilt(np.ones(40))), "Input sample_weight contains NaN"),
    "negative weight": ((X, y, -np.ones(40)), "Negative values in data passed to `sample_weight`"),
    "fewer labels": ((X, y[1:]), "inconsistent numbers of samples"),
    "fewer weights": ((X, y, np.ones(39)), "sample_weight.shape == "),
    "no rows": ((X[:0], y[:0]), "0 sample"),
    "one column": ((X[:, 0], y), "Expected 2D array"),
    "one-hot": ((X, np.eye(3)[y]), r"one label per row.*\(40, 3\).*argmax.*SAMNet"),
    "mixed labels": ((X, np.array(["a", 1] * 20, dtype=object)), "y must hold labels of one kind"),
    "targets": ((X, y + 0.5), "Unknown label type"),
    "huge": (([[10**400] * 6] * 40, y), "X holds an integer that is too large"),
    "masked X": ((np.ma.masked_greater(X, 1.5), y), "X has [0-9]+ masked entries. Drop these"),
    "masked y": ((X, np.ma.masked_equal(y, 1)), "y has [0-9]+ masked entries"),
    "masked weights": ((X, y, np.ma.masked_less(np.arange(40), 1)), "sample_weight has 1 masked"),
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("estimator", [classifier(), influence()], ids=["classifier", "influence"])
def test_rows_labels_and_weights(estimator, case):
    data, message = ROWS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(*data)


TARGETS = {
    **{name: ROWS[name] for name in ROWS if name not in {"one-hot", "mixed labels", "targets"}},
    "inf in y": ((X, spoilt(y, np.inf)), "Input y contains infinity"),
    "y no float32": ((X, spoilt(y, 1e300)), "Input y contains infinity or a value too large"),
    "several outputs": ((X, np.eye(3)[y]), r"y must hold one number per row.*\(40, 3\).*SAMNet"),
    "three dimensions": ((X, np.zeros((40, 1, 1))), "y should be a 1d array"),
    "words": ((X, ["a"] * 40), "y must hold real numbers, got str"),
    "words and numbers": ((X, np.array(["a", 1] * 20, dtype=object)), "y must hold real numbers"),
    "nothing": ((X, [None] * 40), "Input y contains NaN"),
    "dates": ((X, np.full(40, "2020-01-01", dtype="M8[D]")), "y must hold real numbers, got date"),
    "complex": ((X, y * 1j), "Complex data not supported"),
    "huge target": ((X, [10**400] * 40), "y holds an integer that is too large"),
    "no y": ((X, None), "requires y to be passed"),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("case", TARGETS)
@pytest.mark.parametrize(
    "estimator", [regressor(), influence(regressor())], ids=["regressor", "influence"]
)
def test_rows_targets_and_weights(estimator, case):
    data, message = TARGETS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(*data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": -0.1}, "'rho' parameter of SAMRegressor must be a float in the range"),
        ({"criterion": "mse"}, "'criterion' parameter of SAMRegressor"),
        (
            {"criterion": nn.MSELoss(reduction="sum")},
            r"MSELoss\(reduction='sum'\) is not supported",
        ),
        ({"classes": [1, 2]}, "classes"),
        ({"module": nn.Linear(6, 3)}, r"one number per row, shape \(n_samples, 1\), got shape"),
        ({"module": nn.Linear}, "cannot be built: missing a required argument: 'in_features'"),
        ({"module": lambda: 3}, "module must make a torch.nn.Module, got int"),
        ({"lr": 1e30}, r"is (nan|inf) at step \d+; the weights are those before"),
    ],
)
def test_parameters_of_the_regressor(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        regressor(**settings).fit(X, y)


def test_targets_of_questions():
    fitted = influence(regressor()).fit(X, y)
    for call, name in ((fitted.attribute, "y_query"), (fitted.explain, "y_query")):
        with pytest.raises(ValueError, match=f"Input {name} contains NaN"):
            call(X, spoilt(y))
        with pytest.raises(TypeError, match=f"{name} must hold real numbers, got str"):
            call(X, ["a"] * 40)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        fitted.score_samples(X, spoilt(y))
    with pytest.raises(ValueError, match="X has 40 rows, y has 39"):
        fitted.score_samples(X, y[1:])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((torch.tensor(spoilt(X)), y), "Input X contains NaN"),
        ((torch.tensor(X), y[1:]), "X has 40 rows, y has 39"),
        ((torch.tensor(X[:0]), y[:0]), r"and rows and features, got shape \(0, 6\)"),
        ((torch.tensor(X).to_sparse(), y), "X must be a dense tensor, got a sparse"),
        (({}, y), "X as a dict must hold arrays by the names of forward's arguments"),
        (({"a": X, "b": X[1:]}, y), "X as a dict must hold arrays of one length"),
    ],
)
def test_tensors_and_dicts(data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier().fit(*data)


WITHOUT_LABELS = {
    "attribute": lambda i: i.attribute(X_val, None),
    "explain": lambda i: i.explain(X_val, None),
    "explain_errors": lambda i: i.explain_errors(X_val, None),
    "score": lambda i: i.estimator_.score(X_val, None),
    "validation": lambda i: ValidationData(X_val),
    "filter": lambda i: FilteredClassifier(classifier()).fit(X, None),
    "label_issues": lambda i: label_issues(None, np.eye(3)[y]),
    "decisions": lambda i: apply_decisions(X, None, "never"),
    "compare": lambda i: compare(["gif"], classifier(), X, None, validation=HELD_OUT),
    "further training": lambda i: further_training(i.estimator_, X, y, X_val, None),
}


@pytest.fixture(scope="module")
def fitted_influence():
    return influence(method="grad-dot", validation=HELD_OUT).fit(X, y)


@pytest.mark.parametrize("door", WITHOUT_LABELS.values(), ids=WITHOUT_LABELS)
def test_labels_that_are_missing_are_named(door, fitted_influence):
    message = r"y(_query| of ValidationData)? must hold a label or target for each row, got None"
    with pytest.raises(ValueError, match=message):
        door(fitted_influence)


def test_labels_of_another_kind_than_in_fit():
    clf = classifier().fit(X, y)
    with pytest.raises(ValueError, match=r"y holds labels that were not in fit: \[7, 8, 9\]"):
        clf.to_tensors(X, y + 7)
    with pytest.raises(ValueError, match=r"not in fit: \[7, 8, 9, 10, 11\] and 35 more\."):
        clf.to_tensors(X, 7 + np.arange(40))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        clf.to_tensors(X, np.full(40, np.nan))
    with pytest.raises(
        TypeError, match="y must hold labels that were in fit, such as 0, got NoneType"
    ):
        clf.to_tensors(X, np.full(40, None))
    with pytest.raises(ValueError, match="y_query holds labels that were not in fit"):
        influence().fit(X, y).attribute(X, y + 7)


def test_the_default_module_takes_rows_of_the_size_it_was_built_for():
    clf = classifier().fit(np.zeros((40, 2, 3)), y)
    with pytest.raises(
        ValueError, match=r"X has rows of shape \(2, 2\), but module=None was built"
    ):
        clf.predict(np.zeros((40, 2, 2)))


@pytest.mark.parametrize("rows", [{"a": X}, (X, X)])
def test_rows_of_several_inputs_need_a_module(rows):
    with pytest.raises(
        ValueError, match=r"X has rows that are a dict, a tuple .* Pass module=, a network whose"
    ):
        classifier().fit(rows, y)
    with pytest.raises(ValueError, match=r"builds a network for the rows of fit\. Call fit first"):
        classifier().initialize()


def test_one_class_has_nothing_to_attribute():
    assert classifier().fit(X, np.full(40, "a")).predict(X).tolist() == ["a"] * 40
    for estimator in (influence(), FilteredClassifier(classifier()), MislabelFilter()):
        with pytest.raises(ValueError, match="y must hold at least two classes, got 1"):
            estimator.fit(X, np.zeros(40))


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (0.01, "validation=0.01 holds out 1 of 40 rows and trains on 39"),
        (0.99, "validation=0.99 holds out 40 of 40 rows"),
        (0, "'validation' parameter of SAMInfluence"),
        (ValidationData(X_val, y_val + 5), "y of validation holds labels that were not in fit"),
        (ValidationData(spoilt(X_val), y_val), "Input X of validation contains NaN"),
        (ValidationData(X_val[:, :3], y_val), "X of validation has rows of shape.*other features"),
    ],
)
def test_validation_is_named(validation, message):
    with pytest.raises(ValueError, match=message):
        influence(validation=validation).fit(X, y)


def test_a_class_with_one_row_cannot_be_held_out():
    rare = np.where(np.arange(40) == 7, "rare", "common")
    rare[:5] = "other"
    for estimator in (influence(), MislabelDetector(classifier())):
        with pytest.raises(ValueError, match=r"class .*'rare'.* has one row"):
            estimator.fit(X, rare)


def test_validation_data_without_rows():
    with pytest.raises(ValueError, match="X of ValidationData must have at least one row"):
        ValidationData(X[:0], y[:0])


class Constant(nn.Linear):
    """Linear, with any number of logits."""

    def __init__(self, n_logits=3):
        super().__init__(6, n_logits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": -0.1}, "'rho' parameter of SAMClassifier must be a float in the range"),
        ({"rho": np.nan}, "'rho' parameter"),
        ({"rho": 10**400}, "'rho' parameter of SAMClassifier must fit into 64 bits"),
        ({"lr": np.nan}, "'lr' parameter"),
        ({"max_epochs": -1}, "'max_epochs' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"device": "foo"}, "device='foo' cannot be computed on here"),
        ({"device": "meta"}, "device='meta' cannot be computed on here"),
        ({"criterion": "mse"}, "'criterion' parameter"),
        ({"criterion": int}, "criterion must be or make a torch Module, got <class 'int'>"),
        ({"optimizer": nn.Linear}, "optimizer must be or make a torch Optimizer"),
        ({"module": "mlp"}, "'module' parameter"),
        ({"module": int}, "module must be or make a torch Module"),
        ({"module": lambda: 3}, "module must make a torch.nn.Module, got int"),
        ({"module": nn.Linear}, r"cannot be built: missing a required argument: 'in_features'"),
        ({"module": nn.Flatten()}, "module must have parameters to train"),
        (
            {"module": Constant(1)},
            r"one logit per class, shape \(n_samples, 3\), got shape \(8, 1\)",
        ),
        (
            {"module": Constant(5)},
            r"one logit per class, shape \(n_samples, 3\), got shape \(8, 5\)",
        ),
        ({"callbacks": ["early"]}, "callbacks must hold skorch callbacks"),
        ({"perturbation": PNorm("a")}, "p must be above 1"),
        ({"perturbation": Adaptive(-1)}, "eta must be a number of at least 0"),
        ({"compile": "yes"}, "'compile' parameter"),
    ],
)
def test_parameters_of_the_classifier(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(**settings).fit(X, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": [1, 2]}, "parameters must be names or patterns of names, got 1"),
        ({"evaluation": lambda z, y: None}, "evaluation must return a tensor, got NoneType"),
        ({"device": "foo"}, "device='foo' cannot be computed on here"),
        ({"estimator": classifier(device="foo")}, "device='foo' cannot be computed on here"),
        ({"method": GIF}, "'method' parameter of SAMInfluence must be"),
        ({"estimator": SAMClassifier}, "'estimator' parameter of SAMInfluence must be"),
        ({"estimator": classifier(trajectory=None), "method": "gif"}, "Set trajectory=.auto"),
        ({"batch_size": 10**400}, "'batch_size' parameter of SAMInfluence must fit into 64 bits"),
    ],
)
def test_parameters_of_the_influence(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        influence(**settings).fit(X, y)


def test_a_scorer_without_scores():
    with pytest.raises(TypeError, match=r"scorer must leave scores_.*LogisticRegression does not"):
        MislabelFilter(LogisticRegression()).fit(X, y)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((X + 1, y), "X differs"),
        ((X, (y + 1) % 3), "y differs"),
        ((X[1:], y[1:]), rf"{len(X)} rows then, {len(X) - 1} now"),
        (
            (np.r_[X, X[:4]], np.r_[y, y[:4]]),
            r"\d+ rows then, .* now\. Leave out rows that were held out",
        ),
    ],
)
def test_a_trajectory_of_other_data(data, said):
    frozen = FrozenEstimator(classifier().fit(X, y))
    message = rf"recorded on other data: {said}.*\. Pass the rows given to fit"
    with pytest.raises(ValueError, match=message) as error:
        influence(frozen, validation=HELD_OUT).fit(*data)
    assert ("held out" in str(error.value)) == (len(data[1]) > len(y))


def test_a_trajectory_of_another_model(tmp_path):
    classifier(Constant, trajectory_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="a run with other settings: module differ"):
        SAMClassifier.resume(tmp_path, X, y, module=nn.Linear)
    with pytest.raises(TypeError, match="path must be that of a folder, got None"):
        SAMClassifier.resume(None, X, y)


def test_a_method_is_no_solver():
    with pytest.raises(TypeError, match="solver must solve linear systems"):
        influence(method=HIF(solver=GIF())).fit(X, y)


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="classes must hold the labels, got none"):
        classifier(classes=[]).fit(X, y)


def test_what_a_solver_cannot_take():
    singular, columns = Dense(torch.ones(3, 3).double()), torch.arange(3.0).double()[:, None]
    with pytest.raises(ValueError, match=r"is singular to .* float64: .* Raise the damping"):
        Direct().prepare(singular)
    with pytest.warns(ConvergenceWarning, match="stopped at a relative residual"):
        assert not GMRES().prepare(singular).matmat(columns).converged
    for solver in (Direct(), GMRES()):
        with pytest.raises(TypeError, match="operator must be a LinearOperator, got Tensor"):
            solver.prepare(singular.matrix)
        with pytest.raises(ValueError, match=r"columns must be right-hand sides of shape \(2, k\)"):
            solver.prepare(Dense(torch.eye(2).double())).matmat(columns)
        with pytest.raises(ValueError, match="'tol' parameter"):
            type(solver)(tol=-1).prepare(singular)
    with pytest.raises(ValueError, match=r"matrix must be square, got shape \(3, 1\)"):
        Dense(columns)


def test_train_mode_batch_norm_in_scoring():
    module = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="module must be in evaluation mode"):
        Problem(module=module, X=torch.zeros(4, 6), y=torch.zeros(4).long(), n_classes=3)


def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_last_good_state():
    clf = classifier(lr=1e30)
    with pytest.raises(ValueError, match=r"is (nan|inf) at step \d+; the weights are those before"):
        clf.fit(X, y)
    last = clf.trajectory_.states[-1]
    assert last.step == clf.trajectory_.n_steps
    assert torch.isfinite(last.params).all()
    assert torch.equal(nn.utils.parameters_to_vector(clf.module_.parameters()), last.params)


def test_rows_that_a_foreign_loader_does_not_tell():
    foreign = partial(DataLoader)
    with pytest.raises(ValueError, match="iterator_train does not give the row numbers of a batch"):
        influence(classifier(iterator_train=foreign)).fit(X, y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, 2.0, 3.0], "criterion__weight must be a tensor.*got list"),
        (torch.ones(2), r"criterion__weight must have shape \(3,\).*got \(2,\)"),
        (torch.zeros(3), "criterion__weight must be finite, not negative and not all 0"),
        (torch.tensor([1.0, -1.0, 1.0]), "criterion__weight must be finite, not negative"),
        (torch.tensor([1.0, np.nan, 1.0]), "criterion__weight must be finite"),
        (torch.ones(3, requires_grad=True), "criterion__weight must not require a gradient"),
    ],
)
def test_class_weights(weight, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(criterion__weight=weight).fit(X, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"criterion__reduction": "sum"}, r"CrossEntropyLoss\(reduction='sum'\) is not supported"),
        ({"criterion__ignore_index": 0}, r"CrossEntropyLoss\(ignore_index=...\)"),
        ({"criterion__label_smoothing": 2.0}, "criterion__label_smoothing must be from 0 to 1"),
        ({"criterion": nn.NLLLoss}, "criterion=NLLLoss needs a module that ends in a Softmax"),
    ],
)
def test_criteria_that_would_train_something_else(settings, message):
    with pytest.raises(ValueError, match=message):
        classifier(**settings).fit(X, y)


class Named(nn.CrossEntropyLoss):
    def forward(self, logits, codes):
        return {"loss": super().forward(logits, codes)}


class Wide(nn.CrossEntropyLoss):
    def forward(self, logits, codes):
        return super().forward(logits.double(), codes)


def test_a_criterion_returns_one_number():
    with pytest.raises(TypeError, match=r"criterion Named must return one number .*, got dict"):
        classifier(criterion=Named).fit(X, y)


def test_a_criterion_may_compute_in_float64():
    criteria = (nn.CrossEntropyLoss, Wide)
    plain, wide = (influence(classifier(criterion=c)).fit(X, y) for c in criteria)
    np.testing.assert_allclose(wide.scores_, plain.scores_, rtol=1e-4, atol=1e-7)


class InPlace(nn.Linear):
    def forward(self, rows):
        rows -= 1
        return super().forward(rows)


class Pair(nn.Linear):
    def forward(self, rows):
        return super().forward(rows), rows


def test_modules_that_cannot_be_scored_as_they_train():
    with pytest.raises(ValueError, match="module changes its input in place"):
        classifier(InPlace(6, 3)).fit(X, y)
    with pytest.raises(
        TypeError,
        match=r"module must return a tensor.*got a tuple of shape \(\d+, 3\), sh.*\.logits",
    ):
        classifier(Pair(6, 3)).fit(X, y)
    bound = nn.Linear(6, 3)
    forward = bound.forward
    bound.forward = lambda rows: forward(rows)  # as by torch.compile: a copy computes with `bound`
    with pytest.raises(ValueError, match=r"does not depend on its parameters.* torch.compile\(mod"):
        classifier(bound).fit(X, y)
    with pytest.raises(ValueError, match="does not compute with the weights that it is called"):
        influence(SAMClassifier.from_module(bound, X, y), validation=HELD_OUT, method="hif").fit(
            X, y
        )


class Channels(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("module", "rows", "shape"),
    [(nn.Linear(5, 3), X, r"\(6,\)"), (Channels, np.zeros((len(X), 1, 2, 2)), r"\(1, 2, 2\)")],
)
def test_a_module_of_another_size_is_named(module, rows, shape):
    with pytest.raises(ValueError, match=rf"module cannot take X, whose rows have shape {shape}: "):
        classifier(module).fit(rows.astype("float32"), y)


def test_other_errors_of_a_module_name_the_shape_of_the_rows():
    class Unpacks(nn.Linear):
        def forward(self, rows):
            _, _ = rows.shape[1:]

    with pytest.raises(ValueError, match="to unpack") as raised:
        classifier(Unpacks(6, 3)).fit(X, y)
    assert raised.value.__notes__ == ["module was given rows of shape (6,)."]


@pytest.mark.parametrize("method", [Unrolled(), LeaveOneOut(real_loop=False)])
def test_the_method_that_needs_another_optimizer_is_named(method):
    model = classifier(nn.Linear(6, 3), optimizer=torch.optim.RMSprop)
    with pytest.raises(ValueError, match=rf"^{type(method).__name__} needs the optimizer's step"):
        influence(model, method=method, validation=HELD_OUT).fit(X, y)


class Prior(nn.Linear):
    """Learns how often the classes come, whatever the row."""

    def forward(self, rows):
        return super().forward(0 * rows)


def test_a_model_that_learnt_nothing_is_noticed():
    with pytest.warns(UserWarning, match="for every validation row, so scores say little"):
        influence(classifier(Prior(6, 3)), validation=HELD_OUT).fit(X, y)


@pytest.mark.parametrize(
    ("size_of_X", "size_of_y", "advice"),
    [
        (1, 1, "Change lr or rho, train longer."),
        (100, 1, "Scale the features, change lr or rho, train longer."),
        (1, 100, "Scale y, change lr or rho, train longer."),
    ],
)
def test_a_regressor_that_learnt_nothing_is_told_what_is_not_scaled(size_of_X, size_of_y, advice):
    rows, values = size_of_X * X / X.std(0), size_of_y * X[:, 0] / X[:, 0].std()
    model = SAMRegressor(Prior(6, 1), lr=1e-9, max_epochs=1, random_state=0)
    held_out = ValidationData(rows[:9], values[:9])
    with pytest.warns(UserWarning, match=f"so scores say little. {advice}$"):
        influence(model, validation=held_out).fit(rows, values)


@pytest.mark.parametrize(
    ("size_of_X", "size_of_y", "lr", "advice"),
    [
        (1, 1, 1e5, "Lower lr or rho."),
        (1e4, 1, 1, "Lower lr or rho, or scale the features."),
        (1, 1e4, 1e5, "Lower lr or rho, or scale y."),
        (1e4, 1e4, 1, "Lower lr or rho, or scale the features and y."),
    ],
)
def test_a_training_that_diverges_is_told_what_is_not_scaled(size_of_X, size_of_y, lr, advice):
    rows, values = size_of_X * X / X.std(0), size_of_y * X[:, 0] / X[:, 0].std()
    model = SAMRegressor(lr=lr, max_epochs=30, random_state=0)
    with pytest.raises(ValueError, match=f"those before this step. {advice}$"):
        model.fit(rows, values)
