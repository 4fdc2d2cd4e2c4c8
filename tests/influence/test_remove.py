"""SAMInfluence.remove: models edited without some of their training rows."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.optim.lr_scheduler import CosineAnnealingLR

from sam_attribution.editing import state_after
from sam_attribution.editing._linearity import _reasons, warn_of_nonlinearity
from sam_attribution.influence import SAMInfluence
from sam_attribution.linalg import Arnoldi
from sam_attribution.methods import GIF, HIF, InfluenceFunction, Unrolled
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData
from tests.methods.test_unrolled import X as ROWS
from tests.methods.test_unrolled import network, trained
from tests.models import tabular
from tests.retrained import Run

X, y, _ = tabular(60)
X_val, y_val, _ = tabular(25, seed=1)
X_val[0] += 1e-9
HELD_OUT = ValidationData(X_val, y_val)
SMALL = {"max_epochs": 3, "batch_size": 8, "dtype": "float64", "random_state": 0}
REMOVED = [3, 17, 40]


def influence(method="gif", *, validation=HELD_OUT, estimator=None, **settings):
    estimator = estimator or SAMClassifier(**SMALL | {"rho": 0.1})
    settings = {"random_state": 0} | settings
    return SAMInfluence(estimator, method=method, validation=validation, **settings)


def weights(net):
    return parameters_to_vector(net.module_.parameters()).detach()


METHODS = {
    "gif": GIF(),
    "gif, effective rates": GIF(rates="effective", n_checkpoints=3),
    "gif, every step": GIF(n_checkpoints=None),
    "hif": HIF(damping=0.5),
    "hif, arnoldi": HIF(damping=0.5, solver=Arnoldi(n_steps=300)),
    "hif-fast": HIF("fast", damping=0.5),
    "hif-paper": HIF("paper", damping=0.5),
    "if": InfluenceFunction(damping=0.5),
    "unrolled": Unrolled(),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [*((name, "all") for name in METHODS), *((name, "head") for name in ("gif", "hif", "if"))],
)
def test_the_value_moves_along_the_step_as_the_scores_of_the_rows_say(name, parameters):
    fitted = influence(METHODS[name], parameters=parameters).fit(X, y)
    check_step_against_scores(fitted, REMOVED)


def check_step_against_scores(fitted, rows):
    attribution = fitted.attributions_[0]
    step = attribution.prepared.removal_step([torch.tensor(rows)])
    h = 1e-4 / float(step.params.norm())
    ends = [
        float(attribution.validation.values(*state_after(attribution.problem, step, 0, size))[0])
        for size in (h, -h)
    ]
    expected = fitted.scores_[rows].sum()
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(expected, rel=1e-6, abs=1e-10)


@pytest.mark.slow
def test_batch_norm_statistics_are_part_of_the_step():
    fitted, _ = trained(network(norm=True), "nesterov")
    check_step_against_scores(fitted, [1, 5])
    edited = fitted.remove([1, 5], how="linear")
    for name, before in fitted.estimator_.module_.named_buffers():
        after = dict(edited.module_.named_buffers())[name]
        assert torch.equal(before, after) == name.endswith("num_batches_tracked")


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_edited_weights_are_those_of_the_step_and_nothing_else_is_changed(name):
    fitted = influence(METHODS[name]).fit(X, y)
    before = pickle.dumps(fitted.estimator_.module_.state_dict())
    predicted, random_state = fitted.estimator_.predict_proba(X), torch.get_rng_state()
    edited = fitted.remove(REMOVED, how="linear")
    attribution = fitted.attributions_[0]
    step = attribution.prepared.removal_step([torch.tensor(REMOVED)])
    torch.testing.assert_close(weights(edited), weights(fitted.estimator_) + step.params[0])
    assert pickle.dumps(fitted.estimator_.module_.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), random_state)
    np.testing.assert_array_equal(fitted.estimator_.predict_proba(X), predicted)
    assert np.abs(edited.predict_proba(X) - predicted).max() > 1e-6
    assert set(edited.predict(X)) <= set(edited.classes_)
    assert edited.n_features_in_ == 6


@pytest.mark.slow
def test_the_head_alone_is_edited():
    fitted = influence(parameters="head").fit(X, y)
    edited = fitted.remove(REMOVED, how="linear")
    pairs = zip(
        edited.module_.named_parameters(), fitted.estimator_.module_.parameters(), strict=True
    )
    moved = [name for (name, after), before in pairs if not torch.equal(after, before)]
    assert len(moved) == 2  # weight and bias of the last layer


@pytest.mark.slow
def test_the_report_holds_what_can_be_computed_by_hand():
    fitted = influence("unrolled").fit(X, y)
    edited = fitted.remove(REMOVED, how="linear")
    net = fitted.estimator_

    def logits(size):
        module = copy.deepcopy(net.module_).eval()
        moved = weights(net) + size * (weights(edited) - weights(net))
        nn.utils.vector_to_parameters(moved, module.parameters())
        return module(torch.tensor(X_val)).detach()

    z = [logits(size) for size in (0, 0.5, 1)]
    loss = [float(nn.functional.cross_entropy(each, torch.tensor(y_val))) for each in z]
    report = edited.edit_
    assert report["n_removed"] == 3
    assert report["value"] == pytest.approx(loss[0])
    assert report["rise"] == pytest.approx(loss[2] - loss[0])
    rows = [nn.functional.cross_entropy(each, torch.tensor(y_val), reduction="none") for each in z]
    rises = (rows[2] - rows[0]).numpy()
    assert report["rise_error"] == pytest.approx(np.std(rises, ddof=1) / np.sqrt(len(rises)))
    assert report["predicted_rise"] == pytest.approx(fitted.scores_[REMOVED].sum())
    assert report["nonlinearity"] == pytest.approx(
        float(2 * (z[2] - 2 * z[1] + z[0]).norm() / (z[2] - z[0]).norm())
    )
    length = (weights(edited) - weights(net)).norm() / weights(net).norm()
    assert report["step_length"] == pytest.approx(float(length))


def test_without_a_unit_there_is_no_prediction():
    fitted = influence(aggregate="worst-class", evaluation="margin").fit(X, y)
    report = fitted.remove(REMOVED, how="linear").edit_
    assert np.isnan(report["predicted_rise"])
    assert np.isfinite(report["rise"])


def test_a_step_out_of_the_linear_range_warns_with_its_numbers():
    fitted = influence(HIF("fast", damping=1e-3, curvature="ggn")).fit(X, y)
    with pytest.warns(UserWarning, match="the edit is too large for a linear step") as caught:
        edited = fitted.remove(np.arange(45)[y[:45] != y[0]], how="linear")
    (text,) = [
        str(w.message)
        for w in caught
        if "the edit is too large for a linear step" in str(w.message)
    ]
    report = edited.edit_
    assert report["nonlinearity"] > 0.5
    curved = f"{report['nonlinearity']:.0%}"
    assert f"{curved} of the change of the validation outputs along it is not linear" in text
    assert f"rises by {report['rise']:.3g} where {report['predicted_rise']:.3g} was" in text
    assert text.endswith("verify= shows the error of edits of this size.")
    assert caught[-1].filename == __file__
    with pytest.warns(UserWarning, match=r"\)\. verification_ shows the error"):
        fitted.remove(np.arange(45)[y[:45] != y[0]], verify=1, how="linear")


REPORT = {  # of an edit without a fault
    "nonlinearity": 0.1,
    "value": 0.39,
    "predicted_rise": -0.02,
    "rise": -0.02,
    "rise_error": 0.02,
    "accuracy": 0.9,
    "removed_loss_after": 5.0,
    "unseen_loss": 4.0,
}


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({}, None),
        ({"rise": 0.012, "rise_error": 0.005}, "predicted, the other sign"),
        ({"rise": 0.012, "rise_error": 0.007}, None),
        ({"removed_loss_after": 9.1}, "removed rows rises to 9.1, far above the 4 of rows never"),
        ({"removed_loss_after": 8.9}, None),
        ({"removed_loss_after": 1.1, "unseen_loss": 0.1}, None),
        ({"removed_loss_after": 9.0, "unseen_loss": np.nan}, None),
    ],
)
def test_a_wrong_sign_and_an_overshot_loss_are_reasons(numbers, reason):
    found = [*_reasons(REPORT | numbers)]
    assert len(found) == (reason is not None)
    assert all(reason in each for each in found)


def test_all_reasons_are_one_warning():
    numbers = {"rise": 0.5, "removed_loss_after": 20.0, "nonlinearity": 0.7, "step_length": 1.0}
    with pytest.warns(UserWarning, match="too large for a linear step") as caught:
        warn_of_nonlinearity(REPORT | numbers)
    (text,) = [str(each.message) for each in caught]
    assert text.count(";") == 2
    assert "FurtherTraining(groups=[rows])" in text


@pytest.mark.parametrize(
    ("predicted", "rise", "silent"),
    [(-0.509, 0.034, False), (-0.254, -0.0045, False), (-0.254, -0.12, True), (0.01, -0.02, True)],
)
def test_the_bolder_a_promise_the_more_has_to_be_delivered(predicted, rise, silent):
    report = REPORT | {"predicted_rise": predicted, "rise": rise}
    reasons = [*_reasons(report)]
    assert bool(reasons) != silent
    assert all(f"{predicted:.3g} was predicted" in reason for reason in reasons)


@pytest.mark.slow
def test_a_small_step_does_not_warn():
    fitted = influence("unrolled").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted.remove([3], how="linear").edit_["nonlinearity"] < 0.1


@pytest.mark.slow
def test_verification_is_training_again_without_random_groups():
    fitted, run = trained(network(norm=True), "momentum")
    edited = fitted.remove([1, 5], verify=3, how="linear")
    table = edited.verification_
    assert table.index.name == "group"
    attribution = fitted.attributions_[0]
    prepared, ones = attribution.prepared, torch.ones(len(ROWS), dtype=torch.float64)
    groups = [np.random.default_rng(fitted._seed)]
    groups = [torch.tensor(np.sort(groups[0].choice(36, 2, replace=False))) for _ in range(3)]
    step = prepared.removal_step(groups)
    base = flat(run, ones)
    queries = attribution.validation
    for row, (group, mine) in enumerate(zip(groups, step.params, strict=True)):
        s = ones.clone()
        s[group] = 0
        with torch.random.fork_rng():
            module = run.trained(s)
        change = parameters_to_vector(module.parameters()).detach() - base
        found = table.loc[row]
        cosine = float(mine @ change / mine.norm() / change.norm())
        assert found["cosine"] == pytest.approx(cosine, abs=1e-9)
        assert found["length_ratio"] == pytest.approx(float(mine.norm() / change.norm()))
        z = module(queries.X)
        accuracy = float((z.argmax(1) == queries.y).double().mean())
        assert found["accuracy_retrained"] == pytest.approx(accuracy)
        loss = float(nn.functional.cross_entropy(z, queries.y))
        assert found["rise_retrained"] == pytest.approx(loss - edited.edit_["value"])
        rise = queries.values(*state_after(attribution.problem, step, row))[0]
        assert found["rise_edited"] == pytest.approx(float(rise) - edited.edit_["value"])
    again = fitted.remove([1, 5], verify=3, how="linear").verification_
    pd.testing.assert_frame_equal(table, again)


def flat(run: Run, row_weights):
    with torch.random.fork_rng():
        return parameters_to_vector(run.trained(row_weights).parameters()).detach()


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "size"), [(nn.GELU, 6), (nn.Tanh, 1)])  # of 300 rows
def test_unrolled_edits_point_where_training_again_leads(activation, size):
    digits, codes = load_digits(return_X_y=True)
    digits = (digits / 16).astype(np.float32)
    cosine = LRScheduler(CosineAnnealingLR, T_max=150, step_every="batch")
    classifier = SAMClassifier(
        nn.Sequential(nn.Linear(64, 32), activation(), nn.Linear(32, 10)), rho=0.05, lr=0.05,
        optimizer__momentum=0.9, batch_size=30, max_epochs=15, random_state=0,
        callbacks=[("rate", cosine)],
    )  # fmt: skip
    held_out = ValidationData(digits[300:800], codes[300:800])
    fitted = influence("unrolled", estimator=classifier, validation=held_out)
    fitted.fit(digits[:300], codes[:300])
    table = fitted.remove(np.arange(size), verify=4, how="linear").verification_
    print(table.describe())
    assert table["cosine"].min() >= 0.9
    assert (table["accuracy_edited"] - table["accuracy_retrained"]).abs().max() <= 0.02


@pytest.mark.slow
def test_pipelines_and_frozen_estimators_come_back_fitted():
    classifier = SAMClassifier(**SMALL)
    pipeline = make_pipeline(StandardScaler(), classifier)
    fitted = influence(estimator=pipeline).fit(X, y)
    edited = fitted.remove(REMOVED, how="linear")
    assert isinstance(edited, Pipeline)
    assert edited[0] is not fitted.estimator_[0]
    assert edited[-1].edit_["n_removed"] == 3
    moved = fitted.estimator_[-1].predict_proba(fitted.estimator_[0].transform(X))
    assert 1e-6 < np.abs(edited.predict_proba(X) - moved).max() < 0.5
    frozen = fitted.estimator_
    for estimator in (FrozenEstimator(frozen), Pipeline([("all", FrozenEstimator(frozen))])):
        same = influence(estimator=estimator).fit(X, y).remove(REMOVED, how="linear")
        np.testing.assert_array_equal(same.predict_proba(X), edited.predict_proba(X))


def test_an_edited_model_can_be_pickled_and_trained_on_but_not_attributed(tmp_path):
    stored = SAMClassifier(**SMALL, trajectory_dir=tmp_path / "run")
    fitted = influence(estimator=stored).fit(X, y)
    files = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    edited = fitted.remove(REMOVED, how="linear")
    again = pickle.loads(pickle.dumps(edited))
    np.testing.assert_array_equal(again.predict_proba(X), edited.predict_proba(X))
    assert again.edit_.equals(edited.edit_)
    for method in ("gif", "hif-fast"):
        with pytest.raises(ValueError, match=r"cannot be used: SAMInfluence edited the wei"):
            influence(method, estimator=FrozenEstimator(edited)).fit(X, y)
    before, n_epochs = weights(edited).clone(), len(fitted.estimator_.history)
    edited.partial_fit(X, y)
    assert (weights(edited) - before).norm() > 0
    assert len(fitted.estimator_.history) == n_epochs
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == files


def test_splits_are_named_and_each_is_edited_by_itself():
    fitted = influence(validation=StratifiedKFold(2)).fit(X, y)
    with pytest.raises(ValueError, match=r"split must be one of 0\.\.1"):
        fitted.remove(REMOVED, how="linear")
    for split, attribution in enumerate(fitted.attributions_):
        trained = attribution.trained
        rows = trained.split.train[:3]
        edited = fitted.remove(rows, split=split, how="linear")
        step = attribution.prepared.removal_step([torch.arange(3)])
        torch.testing.assert_close(weights(edited), weights(trained.net) + step.params[0])


def test_a_mask_names_the_same_rows():
    fitted = influence().fit(X, y)
    mask = np.isin(np.arange(60), REMOVED)
    expected = weights(fitted.remove(REMOVED, how="linear"))
    for indices in (mask, pd.Series(mask), REMOVED[::-1], np.array(REMOVED, dtype=np.uint8)):
        assert torch.equal(weights(fitted.remove(indices, how="linear")), expected)


@pytest.mark.slow
def test_a_regressor_is_edited():
    target = X @ np.arange(6) / 3
    estimator = SAMRegressor(**SMALL, lr=0.01)
    held_out = ValidationData(X_val, X_val @ np.arange(6) / 3)
    fitted = influence("unrolled", estimator=estimator, validation=held_out).fit(X, target)
    edited = fitted.remove(REMOVED, verify=1, how="linear")
    assert edited.predict(X).shape == (60,)
    compared = [
        f"{name}_{who}" for name in ("rise", "removed_loss") for who in ("edited", "retrained")
    ]
    assert list(edited.verification_) == ["cosine", "length_ratio", *compared]
    assert edited.edit_["unseen_loss"] == edited.edit_["validation_loss_after"]
    assert "accuracy" not in edited.edit_
    assert edited.verification_["cosine"].min() > 0.9


BAD = {
    "empty": ([], "must name at least one row"),
    "number": (3, "must name at least one row"),
    "mask": (np.ones(59, dtype=bool), r"mask must have shape \(60,\)"),
    "empty mask": (np.zeros(60, dtype=bool), "must name at least one row"),
    "beyond": ([3, 60], r"positions in 0\.\.59, got 60"),
    "negative": ([-1], r"positions in 0\.\.59, got -1"),
    "twice": ([3, 5, 3], "holds row 3 more than once"),
    "everything": (np.arange(60), "must leave rows to train on"),
    "class": (np.flatnonzero(y == 1), "all rows of class 1"),
}


@pytest.fixture(scope="module")
def plain():
    return influence().fit(X, y)


@pytest.mark.parametrize("name", BAD)
def test_bad_indices_are_named(plain, name):
    indices, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        plain.remove(indices, how="linear")


@pytest.mark.parametrize("indices", [[0.5], ["a"], [None]])
def test_indices_of_another_kind(plain, indices):
    with pytest.raises(TypeError, match="must be integers or booleans"):
        plain.remove(indices, how="linear")


def test_rows_that_were_held_out():
    fitted = influence(validation=0.25).fit(X, y)
    held_out = np.flatnonzero(np.isnan(fitted.scores_))
    with pytest.raises(ValueError, match=f"not trained on, such as {held_out[0]} "):
        fitted.remove(held_out[:2], how="linear")
    trained_on = np.flatnonzero(~np.isnan(fitted.scores_))
    step = fitted.attributions_[0].prepared.removal_step([torch.tensor([0, 7])])
    moved = weights(fitted.estimator_) + step.params[0]
    torch.testing.assert_close(weights(fitted.remove(trained_on[[0, 7]], how="linear")), moved)
    with pytest.raises(ValueError, match="must leave rows to train on"):
        fitted.remove(trained_on, how="linear")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad-dot", "grad-cos", "relatif", "self-influence", "loo"])
def test_methods_that_predict_no_weights_are_named(method):
    fitted = influence(method, estimator=SAMClassifier(**SMALL | {"max_epochs": 1})).fit(X, y)
    with pytest.raises(ValueError, match=rf"method='{method}' does not estimate the weights"):
        fitted.remove(REMOVED, how="linear")


@pytest.mark.parametrize("verify", [-1, 1.5, True, "2"])
def test_verify_is_a_count(plain, verify):
    with pytest.raises(ValueError, match="verify must be a number of groups"):
        plain.remove(REMOVED, verify=verify, how="linear")


def test_outputs_that_are_not_finite_are_refused():
    fitted = influence("gif").fit(X, y)
    prepared = fitted.attributions_[0].prepared
    problem = fitted.attributions_[0].problem
    infinite = torch.full((1, len(problem.params)), torch.inf, dtype=torch.float64)
    step = prepared.removal_step([torch.tensor([0])])._replace(params=infinite)
    prepared.removal_step = lambda groups, verbose: step
    with pytest.raises(ValueError, match=r'not finite. The step is too.*how="replay".$'):
        fitted.remove([0], how="linear")
