import pickle
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.dataset import ValidSplit

from sam_attribution.influence import METHODS, SAMInfluence
from sam_attribution.linalg import CG, Arnoldi, LiSSA
from sam_attribution.methods import (
    EKFAC,
    GIF,
    HIF,
    TRAK,
    DataInf,
    GradCos,
    GradDot,
    InfluenceFunction,
    IntegratedUnrolled,
    RelatIF,
    SelfInfluence,
    TracIn,
    Unrolled,
    UnrolledSegments,
)
from sam_attribution.methods._auto import Auto
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from sam_attribution.training import MLP, SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.cases import BY_BATCHES, NO_MEAN_OVER_QUERIES
from tests.cases import METHODS as METHOD_CASES
from tests.models import SmallCNN, images, tabular

SMALL = {"max_epochs": 3, "batch_size": 8, "dtype": "float64", "random_state": 0}
X, y, weight = tabular(60)
FEW = X[:20], y[:20]  # for what every row shows
X_val, y_val, _ = tabular(25, seed=1)
HELD_OUT = ValidationData(X_val, y_val)

NO_WEIGHTS = (
    "a validation split takes rows, not weight: a row of weight 2 is held out whole, "
    "its two copies are not"
)
WEIGHT_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": NO_WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": NO_WEIGHTS,
}


@pytest.mark.slow
@parametrize_with_checks(
    [SAMInfluence(SAMClassifier(max_epochs=2, dtype="float64", batch_size=-1))],
    expected_failed_checks=lambda estimator: WEIGHT_CHECKS,
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def influence(**settings):
    defaults = {"estimator": SAMClassifier(**SMALL), "validation": HELD_OUT, "random_state": 0}
    return SAMInfluence(**defaults | settings)


def validation_loss(classifier):
    p = classifier.predict_proba(X_val)
    return -np.log(p[np.arange(len(y_val)), y_val]).mean()


# the evaluation is in the queries: one method for each way in which these are asked
ASKED_FOR_MARGINS = ("ekfac", "gif checkpoint", "grad-cos", "hif", "trak", "unrolled")
VIEWS = [(name, "loss") for name in METHOD_CASES] + [(n, "margin") for n in ASKED_FOR_MARGINS]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "evaluation"), VIEWS)
def test_the_four_views_of_a_score_agree(name, evaluation):
    rows, labels = FEW
    fitted = influence(method=METHOD_CASES[name], evaluation=evaluation).fit(rows, labels)
    assert fitted.scores_.shape == (20,)
    np.testing.assert_array_equal(fitted.scores_, fitted.transform_train_[np.arange(20), labels])
    if name not in NO_MEAN_OVER_QUERIES:
        np.testing.assert_allclose(
            fitted.attribute(X_val, y_val).mean(0), fitted.scores_, rtol=1e-8, atol=1e-12
        )
    if name not in BY_BATCHES:
        np.testing.assert_allclose(fitted.score_samples(*FEW), fitted.scores_, rtol=1e-10)
        np.testing.assert_allclose(fitted.transform(rows), fitted.transform_train_, rtol=1e-10)
    else:
        with pytest.warns(UserWarning, match="every batch with weight 1/n"):
            fitted.transform(rows)
    predicted = fitted.estimator_.predict(X_val)
    np.testing.assert_allclose(
        fitted.score_samples(X_val), fitted.score_samples(X_val, predicted), rtol=1e-12
    )


@pytest.mark.slow
def test_positive_means_helpful():
    """The sign and the unit, against retraining without single rows (weight 0, same batches)."""
    settings = SMALL | {"max_epochs": 4, "batch_size": -1, "rho": 0.02, "lr": 0.05}
    clf = SAMClassifier(**settings)
    fitted = SAMInfluence(clf, method=GIF(n_checkpoints=None), validation=HELD_OUT).fit(X, y)
    # the 1/n stays when a row goes: rate * (n - 1) / n undoes the division by the sum of weights
    shorter = clone(clf).set_params(lr=0.05 * 59 / 60)
    base, truth = validation_loss(clone(clf).fit(X, y)), []
    for k in range(0, 60, 3):
        kept = np.ones(60)
        kept[k] = 0
        truth.append(validation_loss(clone(shorter).fit(X, y, sample_weight=kept)) - base)
    scores = fitted.scores_[::3]
    assert np.corrcoef(scores, truth)[0, 1] > 0.95
    assert (np.sign(scores) == np.sign(truth)).mean() > 0.9
    assert 0.5 < np.polyfit(scores, truth, 1)[0] < 1.5


@pytest.mark.slow
def test_wrong_labels_are_found_and_corrected():
    rng = np.random.default_rng(0)
    centers = 4 * rng.normal(size=(3, 6))
    clean = rng.integers(3, size=240)
    rows = centers[clean] + rng.normal(size=(240, 6))
    noisy, wrong = clean.copy(), rng.random(240) < 0.1
    noisy[wrong] = (clean[wrong] + 1) % 3
    fitted = SAMInfluence(
        SAMClassifier(max_epochs=8, random_state=0),
        evaluation="margin",
        aggregate="worst-class",
        validation=StratifiedKFold(3, shuffle=True, random_state=0),
    ).fit(rows, noisy)
    assert roc_auc_score(wrong, -fitted.scores_) > 0.97
    assert (fitted.suggest_labels()[wrong] == clean[wrong]).mean() > 0.9
    assert (fitted.suggest_labels(rows)[wrong] == clean[wrong]).mean() > 0.9


def test_a_fraction_is_held_out_and_not_judged():
    fitted = influence(validation=0.25).fit(X, y)
    held_out = np.isnan(fitted.scores_)
    assert held_out.sum() == 15
    assert np.bincount(y[held_out]).tolist() == [5, 5, 5]
    np.testing.assert_array_equal(fitted.suggest_labels()[held_out], y[held_out])
    np.testing.assert_allclose(
        fitted.attribute(X[held_out], y[held_out]).mean(0), fitted.scores_, rtol=1e-8
    )


@pytest.mark.slow
def test_folds_judge_every_row_and_average():
    folds = KFold(3, shuffle=True, random_state=0)
    fitted = influence(validation=folds).fit(X, y)
    assert not np.isnan(fitted.scores_).any()
    assert len(fitted.estimators_) == len(fitted.diagnostics_) == 3
    expected, count = np.zeros(60), np.zeros(60)
    for train, held_out in folds.split(X, y):
        train = np.sort(train)
        single = influence(validation=ValidationData(X[held_out], y[held_out]))
        expected[train] += single.fit(X[train], y[train]).scores_
        count[train] += 1
    np.testing.assert_allclose(fitted.scores_, expected / count, rtol=1e-10)
    with pytest.raises(ValueError, match=r"split must be one of 0\.\.2"):
        fitted.attribute(X_val, y_val)
    assert np.isnan(fitted.attribute(X_val, y_val, split=1)).any(0).sum() == 20


@pytest.mark.slow
def test_worst_class_is_the_minimum_over_classes_in_units_of_spread():
    fitted = influence(aggregate="worst-class", evaluation="margin").fit(X, y)
    columns = []
    for label in range(3):
        rows = y_val == label
        one = ValidationData(X_val[rows], y_val[rows])
        single = influence(validation=one, evaluation="margin").fit(X, y)
        columns.append(single.scores_ / single.scores_.std())
    np.testing.assert_allclose(fitted.scores_, np.min(columns, axis=0), rtol=1e-8)


@pytest.mark.slow
def test_labels_and_frames_of_any_kind():
    names = np.array(["ant", "bee", "cat"])
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(6)])
    plain = influence().fit(X, y)
    named = influence(validation=ValidationData(X_val, names[y_val]))
    with pytest.warns(UserWarning, match="feature names"):
        named.fit(frame, names[y])
    np.testing.assert_allclose(named.scores_, plain.scores_, rtol=1e-10)
    assert named.feature_names_in_.tolist() == frame.columns.tolist()
    assert named.get_feature_names_out().tolist() == [f"saminfluence_{n}" for n in names]
    table = named.set_output(transform="pandas").transform(frame)
    assert table.columns.tolist() == named.get_feature_names_out().tolist()
    np.testing.assert_allclose(named.score_samples(frame, names[y]), plain.score_samples(X, y))


@pytest.mark.slow
def test_images_and_the_head():
    pictures, labels = images()
    for parameters in ("all", "head"):
        fitted = SAMInfluence(
            SAMClassifier(SmallCNN, **SMALL), method="gif", parameters=parameters, random_state=0
        ).fit(pictures, labels)
        judged = ~np.isnan(fitted.scores_)
        np.testing.assert_allclose(
            fitted.score_samples(pictures, labels)[judged], fitted.scores_[judged], rtol=1e-9
        )


@pytest.mark.slow
def test_sample_weight_reaches_training_and_shares():
    fitted = influence().fit(X, y, sample_weight=weight[:60] if len(weight) >= 60 else None)
    expected = SAMClassifier(**SMALL).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(fitted.estimator_.predict_proba(X), expected.predict_proba(X))
    unweighted = influence().fit(X, y)
    assert not np.allclose(fitted.scores_, unweighted.scores_)
    doubled = influence().fit(X, y, sample_weight=2 * weight)
    np.testing.assert_allclose(doubled.scores_, fitted.scores_, rtol=1e-8)


def test_global_random_streams_and_inputs_are_untouched():
    rows, labels = X.copy(), y.copy()
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    SAMInfluence(SAMClassifier(max_epochs=1)).fit(rows, labels).transform(rows)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(labels, y)


def test_same_seed_same_bits_and_pickle():
    settings = {"evaluation": "margin", "aggregate": "worst-class", "random_state": 1}
    first, second = (SAMInfluence(SAMClassifier(max_epochs=2), **settings) for _ in "ab")
    np.testing.assert_array_equal(first.fit(X, y).scores_, second.fit(X, y).scores_)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.transform(X), first.transform(X))
    np.testing.assert_array_equal(again.attribute(X_val, y_val), first.attribute(X_val, y_val))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gif", HIF(damping=2.0)], ids=["gif", "hif by GMRES"])
def test_any_pickle_will_do(method):
    wide = SAMClassifier(**SMALL, module__n_hidden=130)  # above what is solved densely
    fitted = influence(estimator=wide, method=method, evaluation="margin").fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gif", "unrolled"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_caller_who_needs_no_gradients_gets_the_same_scores(method):
    expected = influence(method=method).fit(X, y)
    with torch.no_grad():
        found = influence(method=method).fit(X, y)
    np.testing.assert_array_equal(found.scores_, expected.scores_)


def test_method_parameters_are_reachable():
    estimator = SAMInfluence(method=HIF())
    assert estimator.set_params(method__damping=0.3).method.damping == 0.3
    with pytest.raises(ValueError, match=r"method='hif' is a name.*HIF\(damping=0.3\)"):
        SAMInfluence(method="hif").set_params(method__damping=0.3)
    with pytest.raises(ValueError, match=r"method=HIF\(damping=0.3, variant='fast'\)"):
        SAMInfluence(method="hif-fast").set_params(method__damping=0.3)
    with pytest.raises(ValueError, match=r"Invalid parameter 'damping' for estimator GIF\(\)"):
        SAMInfluence(method="gif").set_params(method__damping=0.3)


BY_NAME = {
    "arnoldi": InfluenceFunction(solver=Arnoldi()),
    "auto": Auto(),
    "cg": InfluenceFunction(solver=CG(), curvature="ggn"),
    "datainf": DataInf(),
    "ekfac": EKFAC(),
    "fixed-point": FixedPoint(),
    "further-training": FurtherTraining(),
    "gif": GIF(),
    "grad-cos": GradCos(),
    "grad-dot": GradDot(),
    "hif": HIF(),
    "hif-fast": HIF("fast"),
    "hif-paper": HIF("paper"),
    "if": InfluenceFunction(),
    "integrated-unrolled": IntegratedUnrolled(),
    "lissa": InfluenceFunction(solver=LiSSA(), curvature="ggn"),
    "lissa-h": InfluenceFunction(solver=LiSSA(), curvature="hessian"),
    "loo": LeaveOneOut(),
    "relatif": RelatIF(),
    "self-influence": SelfInfluence(),
    "tracin": TracIn(),
    "trak": TRAK(),
    "unrolled": Unrolled(),
    "unrolled-segments": UnrolledSegments(),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_name_stands_for_the_object_with_its_defaults(name):
    found, expected = METHODS[name](), BY_NAME[name]
    assert type(found) is type(expected)
    assert repr(found) == repr(expected)
    assert repr(found.get_params()) == repr(expected.get_params())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hif-paper", "cg"])
def test_a_name_scores_as_its_object_does(name):
    found, expected = (influence(method=m).fit(*FEW).scores_ for m in (name, BY_NAME[name]))
    np.testing.assert_array_equal(found, expected)


# trainings by the dozen, asked in test_one_logit; lissa-h takes the random series of lissa
NOT_ON_DIGITS = {"fixed-point", "further-training", "integrated-unrolled", "loo", "lissa-h"}


@cache
def trained_on_digits():
    """A classifier in float32, with more than 1000 parameters."""
    rows, labels = digits()
    clf = SAMClassifier(MLP, module__n_features=64, module__n_outputs=10, module__n_hidden=16,
                        max_epochs=8, random_state=0)  # fmt: skip
    return FrozenEstimator(clf.fit(rows[:200], labels[:200]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(METHODS) - NOT_ON_DIGITS - {"unrolled"}))
def test_every_name_works_as_it_is(name):
    rows, labels = digits()
    held_out = ValidationData(rows[200:260], labels[200:260])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.filterwarnings("ignore", "the SAM Jacobian has eigenvalues near 0")
        fitted = influence(estimator=trained_on_digits(), method=name, validation=held_out)
        fitted.fit(rows[:200], labels[:200])
    assert np.isfinite(fitted.scores_).all()
    assert fitted.scores_.std() > 0


def digits():
    rows, labels = load_digits(return_X_y=True)
    return (rows / 16).astype("float32"), labels


@pytest.mark.slow
def test_rows_of_skorchs_own_validation_split_are_not_judged():
    held_back = SAMClassifier(**SMALL, train_split=ValidSplit(4))
    fitted = influence(estimator=held_back, aggregate="worst-class").fit(X, y)
    steps = fitted.estimator_.trajectory_.schedule
    trained_on = np.unique(np.concatenate([step.indices for step in steps]))
    assert len(trained_on) == fitted.diagnostics_.loc[0, "n_train"] == 45
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(fitted.scores_)), trained_on)
    assert np.isnan(fitted.attribute(X_val, y_val)).all(0).sum() == 15
    classes = [ValidationData(X_val[y_val == c], y_val[y_val == c]) for c in range(3)]
    singles = [influence(estimator=held_back, validation=one).fit(X, y) for one in classes]
    spread = np.stack([single.scores_[trained_on] for single in singles])
    expected = (spread / spread.std(1, keepdims=True)).min(0)
    np.testing.assert_allclose(fitted.scores_[trained_on], expected, rtol=1e-8)


def test_diagnostics_say_what_was_done():
    table = influence(method=HIF(damping=0.2)).fit(X, y).diagnostics_
    assert table.loc[0, "damping"] == 0.2
    assert table.loc[0, "residual"] < 1e-9
    assert {"scale", "stationarity", "seconds_training", "seconds_scoring"} <= set(table.columns)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, r"method must be a Method or one of \['arnoldi', 'auto', 'cg', "),
        ({"validation": 1.5}, "The 'validation' parameter"),
        ({"validation": (X, y)}, r"validation must be .* got tuple\. .* ValidationData\(X, y\)\.$"),
        ({"evaluation": "accuracy"}, "The 'evaluation' parameter"),
        ({"aggregate": "median"}, "The 'aggregate' parameter"),
        ({"parameters": "tail"}, "parameters must be"),
        ({"batch_size": 0}, "The 'batch_size' parameter"),
        ({"validation": ValidationData(X_val[:, :3], y_val)}, "features"),
        ({"validation": ValidationData(X_val, y_val + 5)}, "labels that were not in fit"),
        ({"estimator": SAMClassifier(trajectory=None), "method": "gif"}, "trajectory=.auto"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        influence(**settings).fit(X, y)


def test_a_split_without_a_class_is_refused():
    order = np.argsort(y, kind="stable")
    with pytest.raises(ValueError, match="trains without a row of class"):
        influence(validation=KFold(3)).fit(X[order], y[order])


def test_unknown_query_labels_are_refused():
    fitted = influence().fit(X, y)
    with pytest.raises(ValueError, match="labels that were not in fit"):
        fitted.score_samples(X, y + 7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({"method": HIF(damping=0.3)}, "float64"),
        ({"method": HIF(damping=0.3)}, "float32"),
        ({"method": "gif", "parameters": "head"}, "float64"),
        ({"method": "gif", "evaluation": "margin", "aggregate": "worst-class"}, "float64"),
        ({"method": "gif", "evaluation": "margin", "aggregate": "worst-class"}, "float32"),
    ],
)
def test_batch_size_does_not_matter_from_end_to_end(settings, dtype):
    estimator = SAMClassifier(**SMALL | {"dtype": dtype})
    first, *others = (
        influence(estimator=estimator, batch_size=size, **settings).fit(*FEW).transform_train_
        for size in ("auto", 7, 1)
    )
    tolerance = 2e-6 if dtype == "float32" else 1e-10  # each is 1.5e-6 from float64
    for other in others:
        assert np.abs(other - first).max() <= tolerance * np.abs(first).max()


def test_a_fit_that_fails_leaves_nothing_of_the_one_before():
    influence = SAMInfluence(SAMClassifier(max_epochs=2), method="gif", random_state=0).fit(X, y)
    learned = {name for name in vars(influence) if name.endswith("_")}
    influence.set_params(estimator=SAMClassifier(max_epochs=2, trajectory=None))
    with pytest.raises(ValueError, match="trajectory=None"):
        influence.fit(X, y)
    assert influence.estimator_.trajectory is None  # trained, so not lost
    left = learned & set(vars(influence))
    assert left <= {"estimator_", "n_features_in_", "feature_names_in_"}
    for answer in (influence.self_influence, influence.diagnose, lambda: influence.remove([0])):
        with pytest.raises(NotFittedError):
            answer()
    influence.set_params(estimator=SAMClassifier(max_epochs=2)).fit(X, y)
    assert learned <= set(vars(influence))


def test_scoring_puts_the_global_streams_back_whatever_draws_from_them():
    def drawing(z, y):
        np.random.rand()
        return -z.gather(1, y[:, None])[:, 0]

    before = np.random.get_state()[2]
    net = SAMClassifier(max_epochs=1)
    SAMInfluence(net, method="grad-dot", evaluation=drawing, validation=0.2).fit(X, y)
    assert np.random.get_state()[2] == before
