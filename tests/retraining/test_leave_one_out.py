"""Leave-one-out against a loop of plain torch, and what it takes to be interrupted."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import PredefinedSplit, StratifiedKFold, StratifiedShuffleSplit
from skorch.callbacks import Callback, LRScheduler
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR

from sam_attribution.influence import SAMInfluence
from sam_attribution.problem import FunctionalTraining, Queries, problem_from_estimator
from sam_attribution.retraining import (
    FurtherTraining,
    LeaveOneOut,
    _retrained,
    _train_many,
    train_many,
)
from sam_attribution.retraining._retrained import _check_end
from sam_attribution.retraining._retrained import retrained as retrained_models
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.models import SmallCNN, fitted_problem, images, tabular
from tests.retraining.by_hand import TRAININGS, data_of, retrained

SETTINGS = {"max_epochs": 2, "batch_size": 12, "random_state": 0, "dtype": "float64", "rho": 0.1}


def classifier(name="momentum", **settings):
    training = {k: v for k, v in TRAININGS[name].items() if k != "sample_weight"}
    return SAMClassifier(**{**SETTINGS, **training, **settings})


def held_out(name="momentum"):
    if TRAININGS[name].get("module") is SmallCNN:
        return ValidationData(*images(15, seed=1))
    X, y, _ = tabular(15, seed=1)
    return ValidationData(X, y)


def influence(method, name="momentum", **settings):
    options = {"validation": held_out(name), "random_state": 0}
    estimator = settings.pop("estimator", None) or classifier(name)
    return SAMInfluence(estimator, method=method, **{**options, **settings})


def fitted_influence(method, name="momentum", **settings):
    X, y, weight = data_of(TRAININGS[name])
    return influence(method, name, **settings).fit(X, y, sample_weight=weight)


def problem_and_queries(**settings):
    """A problem, and the mean loss on held-out rows."""
    X, y, _ = tabular()
    clf = classifier(**settings).fit(X, y)
    problem = problem_from_estimator(clf, X, y)
    X_val, y_val = clf.to_tensors(held_out().X, held_out().y)
    everyone = (torch.arange(len(y_val)),)
    return problem, Queries(problem, X_val, y_val, problem.row_loss.per_sample, everyone)


def effect_by_hand(influence, absent, name="momentum"):
    """``V(w without) - V(w)`` by the plain loop."""
    data, clf = data_of(TRAININGS[name]), influence.estimator_
    X_val = torch.tensor(influence.validation.X)
    y_val = torch.tensor(influence.validation.y)
    present = torch.ones(len(data[1]), dtype=torch.float64)
    without = present.clone()
    without[absent] = 0
    losses = [cross_entropy(retrained(clf, *data, s)(X_val), y_val) for s in (without, present)]
    return float((losses[0] - losses[1]).detach())


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_scores_are_those_of_a_loop_of_plain_torch(name):
    found = fitted_influence(LeaveOneOut(rows=[2, 17, 30]), name)
    expected = [effect_by_hand(found, row, name) for row in (2, 17, 30)]
    np.testing.assert_allclose(found.scores_[[2, 17, 30]], expected, rtol=1e-8, atol=1e-10)
    assert np.abs(expected).min() > 1e-6
    assert np.isnan(np.delete(found.scores_, [2, 17, 30])).all()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"models_at_once": 1}, {"models_at_once": 7}, {"n_jobs": 2}])
def test_one_by_one_stacks_and_processes_agree(options):
    expected = fitted_influence("loo", "dropout").scores_
    found = fitted_influence(LeaveOneOut(**options), "dropout").scores_
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_queries_have_scores_whose_mean_is_that_of_the_validation_rows():
    found = fitted_influence("loo")
    queries = found.attribute(held_out().X, held_out().y)
    np.testing.assert_allclose(queries.mean(0), found.scores_, rtol=1e-9, atol=1e-13)


def test_the_label_of_a_row_that_is_out_does_not_matter():
    X, y, _ = tabular()
    trainings = [influence(LeaveOneOut(rows=[4])).fit(X, y)]
    trainings.append(influence(LeaveOneOut(rows=[4])).fit(X, np.where(np.arange(40) == 4, 2, y)))
    assert y[4] != 2
    # V without the row is the score above V with it
    values = [run.scores_[4] + value_of_trained(run) for run in trainings]
    assert values[0] == pytest.approx(values[1], abs=1e-10)
    assert abs(trainings[0].scores_[4] - trainings[1].scores_[4]) > 1e-3


def value_of_trained(influence):
    p = influence.estimator_.predict_proba(held_out().X)
    return -np.log(p[np.arange(len(p)), held_out().y]).mean()


@pytest.mark.slow
def test_folds_leave_out_the_rows_that_they_train_on():
    X, y, _ = tabular(21)
    folds = StratifiedKFold(3)
    found = influence("loo", validation=folds).fit(X, y).scores_
    expected = np.zeros(21)
    for train, test in folds.split(X, y):
        one = influence("loo", validation=ValidationData(X[test], y[test])).fit(X[train], y[train])
        expected[train] += one.scores_ / 2
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("method", [LeaveOneOut, FurtherTraining])
def test_rows_are_positions_in_the_rows_given_to_fit(method):
    """A split holds some out: those score NaN, and the others are the ones that were named."""
    X, y, _ = tabular(50)
    settings = {"n_epochs": 2, "n_seeds": 2} if method is FurtherTraining else {}
    every = influence(method(**settings), validation=0.2).fit(X, y).scores_
    held_back = np.flatnonzero(np.isnan(every))
    rows = [held_back[0], 11, 35, 48]
    some = influence(method(rows=rows, **settings), validation=0.2).fit(X, y).scores_
    np.testing.assert_allclose(some[rows], every[rows], rtol=1e-9, atol=1e-13)
    assert np.isnan(np.delete(some, rows)).all()
    mask = np.isin(np.arange(50), rows)
    masked = influence(method(rows=mask, **settings), validation=0.2).fit(X, y).scores_
    np.testing.assert_array_equal(masked, some)


@pytest.mark.slow
def test_groups_are_labels_of_the_rows_given_to_fit():
    """Of a group goes what was trained on; a fold that holds all of it says nothing about it."""
    X, y, _ = tabular(21)
    labels, folds = np.arange(21) // 7, PredefinedSplit(np.arange(21) // 7)
    by_label = influence(LeaveOneOut(groups=labels), validation=folds).fit(X, y).scores_
    masks = labels == np.arange(3)[:, None]
    by_mask = influence(LeaveOneOut(groups=masks), validation=folds).fit(X, y).scores_
    np.testing.assert_array_equal(by_mask, by_label)
    expected = np.zeros(21)
    for train, test in folds.split(X, y):
        held_out = ValidationData(X[test], y[test])
        method = LeaveOneOut(groups=labels[train])
        expected[train] += influence(method, validation=held_out).fit(X[train], y[train]).scores_
    np.testing.assert_allclose(by_label, expected / 2, rtol=1e-9, atol=1e-13)


def test_a_training_that_breaks_names_the_row_as_it_was_given(monkeypatch):
    X, y, _ = tabular(50)
    exploding(monkeypatch, row=5, after=3)
    train = np.sort(next(StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(X, y))[0])
    fraction = influence("loo", validation=StratifiedShuffleSplit(1, test_size=0.2, random_state=0))
    with pytest.raises(ValueError, match=f"without row {train[5]}, training is not finite"):
        fraction.fit(X, y)
    assert train[5] != 5


@pytest.mark.slow
def test_no_row_of_a_split_is_left_out_of_it():
    X, y, _ = tabular(21)
    folds = PredefinedSplit(np.arange(21) // 7)
    found = influence(LeaveOneOut(rows=[2]), validation=folds).fit(X, y)
    every = influence("loo", validation=folds).fit(X, y)
    assert found.scores_[2] == pytest.approx(every.scores_[2], rel=1e-9)
    assert np.isnan(np.delete(found.scores_, 2)).all()


LABELS = np.arange(40) % 5
MASKS = np.array([np.arange(40) < 4, (np.arange(40) > 2) & (np.arange(40) < 9)])


def test_groups_are_several_weights_at_zero():
    found = fitted_influence(LeaveOneOut(groups=LABELS))
    for label in (0, 3):
        members = np.flatnonzero(label == LABELS)
        effect = effect_by_hand(found, members)
        np.testing.assert_allclose(found.scores_[members], effect / 8, rtol=1e-8)
        assert found.scores_[members].sum() == pytest.approx(effect)


@pytest.mark.parametrize(
    "groups",
    [
        [range(4), [8, 3, 4, 5, 6, 7]],
        [np.arange(4), np.arange(3, 9)],
        ([0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8]),
    ],
)
def test_groups_may_list_positions(groups):
    problem, _ = problem_and_queries()
    found = LeaveOneOut(groups=groups).left_out(problem)
    assert found.names[1:] == ["without group 0", "without group 1"]
    assert [rows.tolist() for rows in found.positions[1:]] == [sorted(rows) for rows in groups]


def test_rows_in_several_groups_get_the_mean_of_their_shares():
    found = fitted_influence(LeaveOneOut(groups=MASKS))
    shares = [effect_by_hand(found, np.flatnonzero(m)) / m.sum() for m in MASKS]
    np.testing.assert_allclose(found.scores_[[0, 8]], shares, rtol=1e-8)
    assert found.scores_[3] == pytest.approx(np.mean(shares))
    assert np.isnan(found.scores_[9:]).all()


def test_effects_of_groups_are_there_as_they_are():
    problem, queries = problem_and_queries()
    prepared = LeaveOneOut(groups=MASKS).prepare(problem)
    effects = prepared.group_effects(queries)
    assert effects.shape == (1, 2, 1)
    shares = prepared.scores(queries)[:, 0]
    assert effects[0, 0, 0] == pytest.approx(float(shares[0]) * 4)
    single = LeaveOneOut(rows=[1, 5]).prepare(problem)
    torch.testing.assert_close(single.group_effects(queries)[0], single.scores(queries)[[1, 5]])


@pytest.mark.slow
def test_each_seed_is_a_training_of_its_own():
    X, y, _ = tabular()
    problem, queries = problem_and_queries()
    prepared = LeaveOneOut(rows=[3, 8], n_seeds=3).prepare(problem)
    found = prepared.scores_of_seeds(queries)[:, [3, 8], 0]
    assert (found[0] - found[1]).abs().min() > 1e-6
    other = problem.path.trained_again(5)[0]
    again = classifier(random_state=5).fit(X, y)
    assert torch.equal(other.trajectory_.states[-1].params, again.trajectory_.states[-1].params)
    alone = LeaveOneOut(rows=[3, 8]).prepare(problem).scores(queries)[[3, 8], 0]
    torch.testing.assert_close(found[0], alone)
    torch.testing.assert_close(prepared.scores(queries)[[3, 8], 0], found.mean(0))
    errors = prepared.standard_errors(queries)[[3, 8], 0]
    torch.testing.assert_close(errors, found.std(0) / 3**0.5)
    assert prepared.diagnostics["n_retrained"] == 6


def continued(clf, X, y):
    return clf.fit(X, y).partial_fit(X, y)


CHANGED = {
    "went on": continued,
    "max_epochs": lambda clf, X, y: clf.fit(X, y).set_params(max_epochs=3),
    "lr": lambda clf, X, y: clf.fit(X, y).set_params(lr=0.01),
    "weight decay": lambda clf, X, y: clf.fit(X, y).set_params(optimizer__weight_decay=0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("train", CHANGED.values(), ids=CHANGED)
def test_seeds_of_another_training_are_refused(train):
    X, y, _ = tabular()
    clf = train(classifier(), X, y)
    problem = problem_from_estimator(clf, X, y)
    LeaveOneOut(rows=[3]).prepare(problem)
    with pytest.raises(ValueError, match=r"n_seeds trains again with .* another training than"):
        LeaveOneOut(rows=[3], n_seeds=2).prepare(problem)


class Killed(BaseException):
    """What Ctrl-C raises, without stopping the tests."""


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    expected = fitted_influence(LeaveOneOut(models_at_once=6)).scores_
    method = LeaveOneOut(models_at_once=6, resume_dir=tmp_path)
    watch(monkeypatch, kill_after=2)
    with pytest.raises(Killed):
        fitted_influence(method)
    trained = watch(monkeypatch)
    found = fitted_influence(method).scores_
    assert trained == [41 - 12]  # the full model is one of them
    assert np.array_equal(found, expected)
    assert np.array_equal(fitted_influence(method).scores_, expected)
    assert trained == [29, 0]


def watch(monkeypatch, kill_after=None):
    """Numbers of models that are trained from now on; killed after so many stacks."""
    counts = []

    def watched(program, start, row_weights, **options):
        counts.append(len(row_weights))
        for number, stack in enumerate(train_many(program, start, row_weights, **options)):
            if number == kill_after:
                raise Killed
            yield stack

    monkeypatch.setattr(_retrained, "train_many", watched)
    return counts


@pytest.mark.slow
def test_what_is_finished_serves_other_rows_and_no_other_training(tmp_path, monkeypatch):
    trained = watch(monkeypatch)
    fitted_influence(LeaveOneOut(rows=[1, 2], resume_dir=tmp_path))
    fitted_influence(LeaveOneOut(rows=[2, 3], resume_dir=tmp_path))
    fitted_influence(LeaveOneOut(rows=[2, 3], resume_dir=tmp_path), "adam")
    assert trained == [3, 1, 3]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_was_cut_off_is_named(tmp_path):
    method = LeaveOneOut(rows=[1, 2], resume_dir=tmp_path)
    fitted_influence(method)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"stack-0\.safetensors has \d+ bytes instead of"):
        fitted_influence(method)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    file = tmp_path / "run"
    file.write_text("")
    with pytest.raises(ValueError, match=r"resume_dir must be a folder, .*run' is a file"):
        fitted_influence(LeaveOneOut(rows=[1], resume_dir=file))


UNREPEATABLE = {
    "no seed": {"random_state": None, "estimator": classifier(random_state=None)},
    "a split without seed": {"random_state": None, "validation": 0.2},
}


@pytest.mark.parametrize("settings", UNREPEATABLE.values(), ids=UNREPEATABLE)
def test_a_folder_in_which_nothing_is_found_again_warns(settings, tmp_path):
    method = LeaveOneOut(rows=[1], resume_dir=tmp_path)
    with pytest.warns(
        UserWarning, match=r"resume_dir cannot find saved models again .* random_state=0 on"
    ):
        fitted_influence(method, **settings)


REPEATABLE = {
    "of the estimator": {"random_state": None},
    "of SAMInfluence": {"estimator": classifier(random_state=None), "validation": 0.2},
    "frozen": {"random_state": None, "estimator": "frozen"},
}


@pytest.mark.slow
@pytest.mark.parametrize("settings", REPEATABLE.values(), ids=REPEATABLE)
def test_what_is_found_again_warns_of_nothing(settings, tmp_path, monkeypatch, recwarn):
    X, y, _ = data_of(TRAININGS["momentum"])
    if settings.get("estimator") == "frozen":
        clf = classifier(random_state=None).fit(X, y)
        settings = settings | {"estimator": FrozenEstimator(clf)}
    trained = watch(monkeypatch)
    for _ in range(2):
        fitted_influence(LeaveOneOut(rows=[1], resume_dir=tmp_path), **settings)
    assert trained == [2, 0]
    assert not [w for w in recwarn if "resume_dir" in str(w.message)]


def exploding(monkeypatch, row, after):
    """Make training without a row infinite after a step."""

    def stack(program, start, row_weights, at, read=None):
        found = []
        for number, state in zip(at, train_stack(program, start, row_weights, at), strict=True):
            params = state.params.clone()
            if number > after:
                params[row_weights[:, row] == 0] = torch.inf
            state = state._replace(params=params)
            found.append(state if read is None else read(state))
        return found

    train_stack = _train_many.train_stack
    monkeypatch.setattr(_train_many, "train_stack", stack)


def test_a_training_that_is_not_finite_is_named_and_the_others_kept(tmp_path, monkeypatch):
    exploding(monkeypatch, row=7, after=4)
    method = LeaveOneOut(rows=[5, 6, 7, 8], resume_dir=tmp_path)
    with pytest.raises(ValueError, match="without row 7, training is not finite after step 4"):
        fitted_influence(method)
    monkeypatch.undo()
    trained = watch(monkeypatch)
    fitted_influence(LeaveOneOut(rows=[5, 6, 8], resume_dir=tmp_path))
    assert trained == [0]


class Scaled(Callback):
    """Changes the weights behind the back of the recorded steps."""

    def __init__(self, factor):
        self.factor = factor

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.mul_(self.factor)


def test_weights_that_a_callback_changed_are_refused_by_its_name():
    clf = classifier(callbacks=[Scaled(1.0001)])
    with pytest.raises(ValueError, match="Scaled changed them after step"):
        influence(LeaveOneOut(rows=[1]), estimator=clf).fit(*tabular()[:2])


@pytest.mark.parametrize("models_at_once", [1, "auto"])
def test_a_base_run_that_is_not_the_recorded_one_is_refused(tmp_path, models_at_once):
    problem, _ = problem_and_queries()
    options = {"models_at_once": models_at_once, "resume_dir": tmp_path}
    training = FunctionalTraining(problem)
    absent = LeaveOneOut(rows=[1, 2]).left_out(problem)
    for _ in range(2):  # nothing of it is taken up again
        with pytest.raises(ValueError, match=r"ends 1\.7e-01 away from the weights of the"):
            retrained_models(
                problem, training, absent, recorded_end=1.2 * problem.params, **options
            )


def test_a_base_run_beside_the_recorded_one_warns():
    problem, _ = problem_and_queries()
    absent = LeaveOneOut(rows=[1]).left_out(problem)
    with pytest.warns(UserWarning, match=r"ends 5\.0e-03 away from the weights of the"):
        retrained_models(
            problem, FunctionalTraining(problem), absent, recorded_end=1.005 * problem.params
        )


def test_momentum_that_a_scheduler_cycles_is_that_of_the_base_run():
    cycle = LRScheduler(OneCycleLR, max_lr=0.1, total_steps=21, step_every="batch")
    clf = classifier(callbacks=[cycle], max_epochs=5, batch_size=10)
    found = influence(LeaveOneOut(rows=[1]), estimator=clf).fit(*tabular()[:2])
    problem = found.attributions_[0].problem
    _, (params, _) = next(iter(found.attributions_[0].prepared._seeds[0]))
    torch.testing.assert_close(params, problem.params, rtol=1e-12, atol=1e-12)


def test_nothing_given_is_changed():
    groups, stream = LABELS.copy(), torch.get_rng_state()
    fitted_influence(LeaveOneOut(groups=groups, n_seeds=2))
    assert np.array_equal(groups, LABELS)
    assert torch.equal(torch.get_rng_state(), stream)


BAD = [
    ({"rows": [40]}, r"rows must be positions in 0\.\.39, got 40"),
    ({"rows": [-1]}, r"rows must be positions in 0\.\.39, got -1"),
    ({"rows": [0.5]}, "rows must be a list of positions"),
    ({"rows": [[1]]}, "rows must be a list of positions"),
    ({"rows": []}, "rows must be a list of positions"),
    ({"rows": [1], "groups": LABELS}, "rows and groups were both given"),
    ({"groups": LABELS[:-1]}, r"groups must be labels of shape \(40,\) or a bool array"),
    ({"groups": MASKS[0]}, r"groups must be labels of shape \(40,\) or a bool array"),
    ({"groups": MASKS[:, 1:]}, r"groups must be labels of shape \(40,\) or a bool array"),
    ({"groups": np.zeros((1, 40), bool)}, "groups: group 0 holds no row"),
    ({"groups": [[0, 1], [40, 2, 3]]}, r"groups: group 1 must be positions in 0\.\.39, got 40"),
    ({"groups": [[0, 1], []]}, "groups: group 1 must be a list of positions"),
    ({"groups": [[0, [1, 2]], [3]]}, "groups: group 0 must be a list of positions"),
    ({"groups": MASKS.astype(int)}, "groups: group 0 lists row 0 twice.* a mask must be of bool"),
    ({"groups": np.array(3)}, "groups must be labels"),
    ({"rows": [[1], [2, 3]]}, "rows must be a list of positions"),
    (
        {"groups": [None, "a"] * 20},
        "groups must hold labels of one kind that can be sorted, got NoneType",
    ),
    ({"groups": [np.nan, 1.0] * 20}, "groups must hold a label for each row, got NaN"),
    ({"rows": MASKS[0][1:]}, r"rows must be .* a mask of shape \(40,\), .* bool of shape \(39,\)"),
    ({"n_seeds": 0}, "The 'n_seeds' parameter of LeaveOneOut"),
    ({"models_at_once": "all"}, "The 'models_at_once' parameter of LeaveOneOut"),
    ({"n_jobs": "all"}, "The 'n_jobs' parameter of LeaveOneOut"),
    ({"resume_dir": 3}, "The 'resume_dir' parameter of LeaveOneOut"),
]


def never_called(self, X, y=None, **fit_params):
    raise AssertionError("trained")


@pytest.mark.parametrize("groups", [np.zeros(40, int), np.ones((1, 40), bool)])
def test_a_group_of_all_rows_is_named(groups):
    with pytest.raises(ValueError, match="group 0 holds all 40 rows trained on"):
        fitted_influence(LeaveOneOut(groups=groups))


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_what_cannot_be_left_out_is_named_before_any_training(settings, message, monkeypatch):
    monkeypatch.setattr(SAMClassifier, "fit", never_called)
    with pytest.raises((ValueError, TypeError), match=message):
        fitted_influence(LeaveOneOut(**settings))


@pytest.mark.parametrize("method", ["loo", "unrolled", "gif"])
def test_a_training_without_recorded_start_is_named(method):
    X, y, _ = tabular()
    net = classifier(trajectory=None)
    with pytest.raises(ValueError, match=r"needs the training's states.* has trajectory=None"):
        SAMInfluence(net, method=method, validation=held_out()).fit(X, y)
    influence = SAMInfluence(FrozenEstimator(net.fit(X, y)), method=method, validation=held_out())
    with pytest.raises(ValueError, match=r"was fitted with trajectory=None\. Fit it with"):
        influence.fit(X, y)


def test_an_optimizer_without_functional_form_is_named():
    problem = fitted_problem("mlp", optimizer=torch.optim.RMSprop, lr=0.01)
    with pytest.raises(ValueError, match="not for RMSprop"):
        LeaveOneOut(real_loop=False).prepare(problem)


def test_a_part_of_the_parameters_is_refused():
    with pytest.raises(ValueError, match='use parameters="all"'):
        fitted_influence("loo", parameters="head")


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        (torch.float32, 'lower lr, train with dtype="float64", or repeat'),
        (torch.float64, "lower lr, or repeat"),
    ],
)
def test_double_precision_is_not_advised_to_who_has_it(dtype, advice):
    recorded = torch.ones(4, dtype=dtype)
    with pytest.warns(UserWarning, match=rf"belong to another run: {advice} "):
        _check_end(1.01 * recorded, recorded)
    with pytest.raises(ValueError, match=rf"amplifies rounding errors: {advice} "):
        _check_end(2 * recorded, recorded)
