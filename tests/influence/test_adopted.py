"""Scores of an adopted network: those of the same network trained here, and explicit sums."""

import copy

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sam_attribution import (
    MislabelDetector,
    MislabelFilter,
    SAMClassifier,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)
from sam_attribution.comparison import compare, further_training, leave_one_out
from sam_attribution.influence import METHODS
from sam_attribution.linalg import CG, Arnoldi, LiSSA
from sam_attribution.methods import (
    EKFAC,
    GIF,
    HIF,
    TRAK,
    InfluenceFunction,
    RelatIF,
    SelfInfluence,
    TracIn,
)
from sam_attribution.retraining import FixedPoint, FurtherTraining
from sam_attribution.training import Checkpoint
from tests.adopted import (
    LR,
    RHO,
    VALIDATION,
    X,
    Y,
    adopted,
    checkpoints_of,
    module,
    trained,
    with_batch_norm,
)

DAMPED = {"damping": 1.0}  # a training that is known gives damping="auto" its length
OF_THE_FINAL_MODEL = {
    "arnoldi": InfluenceFunction(solver=Arnoldi(), **DAMPED),
    "cg": InfluenceFunction(solver=CG(), curvature="ggn", **DAMPED),
    "datainf": "datainf",
    "ekfac": EKFAC(**DAMPED),
    "fixed-point": FixedPoint(rows=[0, 1], max_iter=1000),
    "further-training": FurtherTraining(n_epochs=2, n_seeds=2, rows=[0, 5], lr=LR, random_state=0),
    "grad-cos": "grad-cos",
    "grad-dot": "grad-dot",
    "hif": HIF(**DAMPED),
    "hif-fast": HIF("fast", **DAMPED),
    "hif-paper": HIF("paper", **DAMPED),
    "if": InfluenceFunction(**DAMPED),
    "lissa": InfluenceFunction(solver=LiSSA(), curvature="ggn", **DAMPED),
    "lissa-h": InfluenceFunction(solver=LiSSA(), **DAMPED),
    "relatif": RelatIF(InfluenceFunction(**DAMPED)),
    "trak": "trak",
}
OF_CHECKPOINTS = {
    "gif": GIF(),
    "gif, checkpoint": GIF(query="checkpoint"),
    "tracin": TracIn(),
    "tracin, w+eps": TracIn(at="w+eps"),
    "trak": TRAK(n_checkpoints="recorded", proj_dim=4),
    "self-influence": SelfInfluence(),
    "self-influence, w+eps": SelfInfluence(at="w+eps"),
    "hif": HIF(),  # whose damping is one over the sum of the rates
}
OF_EVERY_STEP = {"integrated-unrolled", "loo", "unrolled"}


def influence(net, method, **settings):
    """What `method` finds for an estimator, frozen if it was trained here."""
    return SAMInfluence(net, method=method, validation=VALIDATION, random_state=0, **settings)


@pytest.fixture(scope="module")
def net():
    return trained(module())


@pytest.fixture(scope="module")
def with_norm():
    return trained(with_batch_norm())


@pytest.fixture(scope="module")
def convex():
    """A convex problem with weight decay, where fixed points exist."""
    torch.manual_seed(0)
    return trained(nn.Linear(4, 3).double(), rho=0.01, optimizer__weight_decay=0.1, max_epochs=20)


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.nanmax(np.abs(expected)))


def test_every_method_is_tried_here():
    assert METHODS.keys() <= OF_THE_FINAL_MODEL.keys() | OF_CHECKPOINTS.keys() | OF_EVERY_STEP


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_THE_FINAL_MODEL)
@pytest.mark.filterwarnings("ignore::sam_attribution.exceptions.AttributionWarning")
def test_scores_are_those_of_the_net_that_was_trained_here(net, convex, name):
    net, decay = (convex, 0.1) if name == "fixed-point" else (net, 0.0)
    method = OF_THE_FINAL_MODEL[name]
    known = influence(FrozenEstimator(net), method).fit(X, Y)
    found = influence(adopted(net, weight_decay=decay), method).fit(X, Y)
    assert_equal(found.scores_, known.scores_)
    assert_equal(found.attribute(X[:2], Y[:2]), known.attribute(X[:2], Y[:2]))


@pytest.mark.parametrize("name", OF_CHECKPOINTS)
@pytest.mark.filterwarnings("ignore::sam_attribution.exceptions.AttributionWarning")
def test_scores_of_checkpoints_are_those_of_the_recorded_stretches(net, name):
    compare_with_recorded_stretches(net, name)


@pytest.mark.parametrize("name", ["gif", "tracin, w+eps", "self-influence, w+eps"])
def test_eps_is_that_of_batch_norm_in_training(with_norm, name):
    """The statistics of the batch are known, where its rows are."""
    compare_with_recorded_stretches(with_norm, name)


def compare_with_recorded_stretches(net, name):
    with_checkpoints = adopted(net, checkpoints=checkpoints_of(net))
    known = influence(FrozenEstimator(net), OF_CHECKPOINTS[name]).fit(X, Y)
    found = influence(with_checkpoints, OF_CHECKPOINTS[name]).fit(X, Y)
    assert_equal(found.scores_, known.scores_)


def sam_loop(network, n_steps=12, rho=RHO):
    """A SAM training written by hand, with a falling rate, and what to keep of it."""
    kept, rows = [], np.random.default_rng(0)
    inputs, labels = torch.as_tensor(X), torch.as_tensor(Y)
    parameters = list(network.parameters())
    for step in range(n_steps):
        batch, rate = rows.choice(len(X), 8, replace=False), 0.3 / (1 + step)
        if step % 4 == 2:
            rates = sum(0.3 / (1 + t) for t in range(step - 2, step + 2))
            kept.append(Checkpoint(network.state_dict(), rate=rates, rows=batch))
        start = [p.detach().clone() for p in parameters]
        for climbs in (True, False):
            network.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
            with torch.no_grad():
                norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
                for p, w in zip(parameters, start, strict=True):
                    p.copy_(p + rho * p.grad / norm if climbs else w - rate * p.grad)
    return kept


def row_gradients(network, state, X, y):
    """Gradient of each row's loss at a state, shape (n, n_params)."""
    network = copy.deepcopy(network)
    network.load_state_dict(state)
    losses = nn.functional.cross_entropy(
        network(torch.tensor(X)), torch.tensor(y), reduction="none"
    )
    found = [torch.autograd.grad(loss, network.parameters(), retain_graph=True) for loss in losses]
    return np.array([torch.cat([g.flatten() for g in row]).numpy() for row in found])


def climbed(network, state, rows, rho):
    """The state moved by SAM's perturbation of a batch."""
    g = torch.as_tensor(row_gradients(network, state, X[rows], Y[rows]).mean(0))
    network = copy.deepcopy(network)
    network.load_state_dict(state)
    w = nn.utils.parameters_to_vector(network.parameters()).detach()
    nn.utils.vector_to_parameters(w + rho * g / g.norm(), network.parameters())
    return network.state_dict()


@pytest.mark.parametrize("of_file", [True, False])
def test_gif_and_tracin_are_sums_over_the_checkpoints_of_a_loop_by_hand(of_file, tmp_path):
    """Either files, with the batch of each, or a radius of their own, and all rows."""
    network, kept, gif, tracin = module(), [], 0.0, 0.0
    loop = sam_loop(network)
    query = VALIDATION.X, VALIDATION.y
    final = row_gradients(network, network.state_dict(), *query).mean(0)
    for number, each in enumerate(loop):
        if of_file:
            torch.save(each.state, path := tmp_path / f"{number}.pt")
            kept.append(Checkpoint(path, rate=each.rate, rows=each.rows))
            above = climbed(network, each.state, each.rows, RHO)
        else:
            kept.append(Checkpoint(each.state, rate=each.rate, rho=0.03))
            above = climbed(network, each.state, np.arange(len(X)), 0.03)
        there = row_gradients(network, each.state, *query).mean(0)
        gif += each.rate / len(X) * row_gradients(network, above, X, Y) @ final
        tracin += each.rate / len(X) * row_gradients(network, each.state, X, Y) @ there
    net = SAMClassifier.from_module(network, X, Y, rho=RHO, checkpoints=kept)
    assert_equal(influence(net, "gif").fit(X, Y).scores_, gif)
    assert_equal(influence(net, "tracin").fit(X, Y).scores_, tracin)


def test_masks_that_are_not_known_are_left_out():
    """With dropout eps is taken in evaluation mode, where dropout does nothing."""

    def network(drop):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.GELU(), drop, nn.Linear(5, 3)).double()

    found = []
    for drop in (nn.Dropout(0.5), nn.Identity()):
        states = [network(drop).state_dict()]
        kept = [Checkpoint(state, rate=1.0, rows=np.arange(8)) for state in states]
        adopted_ = SAMClassifier.from_module(network(drop), X, Y, rho=RHO, checkpoints=kept)
        found.append(influence(adopted_, "gif").fit(X, Y))
    assert_equal(found[0].scores_, found[1].scores_)
    assert found[0].diagnostics_["mode"][0].startswith("eps and row gradients in evaluation mode")
    table = found[0].diagnose().set_index("check")
    assert table["status"]["evaluation_mode"] == "doubtful"
    assert table["advice"]["evaluation_mode"] == ""


@pytest.mark.parametrize("name", ["gif", "hif"])
def test_a_regressor_and_parameter_groups(name):
    torch.manual_seed(0)
    groups = [("bias", {"weight_decay": 0.0, "lr": LR})]
    settings = {
        "rho": RHO,
        "lr": LR,
        "batch_size": 8,
        "optimizer__weight_decay": 0.1,
        "optimizer__param_groups": groups,
    }
    y = X @ [0.5, 0, 0, 1] + Y
    held_out = ValidationData(VALIDATION.X, VALIDATION.y)
    one = SAMRegressor(
        nn.Linear(4, 1), dtype="float64", random_state=0, trajectory=3, max_epochs=2, **settings
    ).fit(X, y)
    checkpoints = checkpoints_of(one)
    two = SAMRegressor.from_module(one.module_, X, y, checkpoints=checkpoints, **settings)
    method = HIF(damping=0.1) if name == "hif" else name
    known, found = (
        SAMInfluence(each, method=method, validation=held_out).fit(X, y)
        for each in (FrozenEstimator(one), two)
    )
    assert_equal(found.scores_, known.scores_)


def test_the_detector_reads_the_checkpoints(net):
    known = MislabelDetector(FrozenEstimator(net), validation=VALIDATION, random_state=0)
    found = MislabelDetector(
        adopted(net, checkpoints=checkpoints_of(net)), validation=VALIDATION, random_state=0
    )
    assert_equal(found.fit(X, Y).scores_, known.fit(X, Y).scores_)
    assert found.diagnostics_["agreement"][0] == known.diagnostics_["agreement"][0]


@pytest.mark.slow
def test_a_filter_scores_by_it_and_knows_its_checkpoints(net):
    """Scores of other checkpoints are not taken from the cache."""
    found = []
    for checkpoints in (checkpoints_of(net), checkpoints_of(net)[:2]):
        detector = MislabelDetector(adopted(net, checkpoints=checkpoints), validation=VALIDATION)
        rows = MislabelFilter(scorer=detector, removal_fraction=0.1, random_state=0)
        found.append(rows.fit(X, Y).scores_)
        assert_equal(found[-1], detector.set_params(random_state=0).fit(X, Y).scores_)
    assert not np.array_equal(*found)


def test_without_a_state_before_training_agreement_is_not_known(net):
    checkpoints = checkpoints_of(net)[1:]
    detector = MislabelDetector(adopted(net, checkpoints=checkpoints), validation=VALIDATION)
    assert np.isnan(detector.fit(X, Y).diagnostics_["agreement"][0])


@pytest.mark.slow
def test_labels_in_another_order_change_nothing_but_names(net):
    words = np.array(["rose", "iris", "aster"])  # as the logits are; sorted they are reversed
    named = ValidationData(VALIDATION.X, words[VALIDATION.y])
    settings = {"rho": RHO, "checkpoints": checkpoints_of(net)}
    other = SAMClassifier.from_module(net.module_, X, words[Y], classes=words, **settings)
    by_code = influence(adopted(net, checkpoints=checkpoints_of(net)), "gif").fit(X, Y)
    by_word = SAMInfluence(other, method="gif", validation=named).fit(X, words[Y])
    np.testing.assert_array_equal(by_word.scores_, by_code.scores_)
    np.testing.assert_array_equal(by_word.transform_train_, by_code.transform_train_[:, ::-1])
    np.testing.assert_array_equal(by_word.transform(X), by_code.transform(X)[:, ::-1])
    np.testing.assert_array_equal(by_word.score_samples(X), by_code.score_samples(X))
    np.testing.assert_array_equal(by_word.suggest_labels(), words[by_code.suggest_labels()])
    one = MislabelDetector(FrozenEstimator(net), validation=VALIDATION, random_state=0).fit(X, Y)
    two = MislabelDetector(other, validation=named, random_state=0).fit(X, words[Y])
    np.testing.assert_allclose(two.scores_, one.scores_, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(two.suggested_labels_, words[one.suggested_labels_])
    np.testing.assert_allclose(two.transition_, one.transition_[::-1, ::-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["gif", "self-influence", "tracin"])
def test_methods_along_the_training_ask_for_checkpoints(net, name):
    with pytest.raises(ValueError, match=r"Pass checkpoints= to SAMClassifier.from_module"):
        influence(adopted(net), name).fit(X, Y)


def test_the_detector_asks_for_checkpoints(net):
    with pytest.raises(ValueError, match=r"Pass checkpoints= to SAMClassifier.from_module"):
        MislabelDetector(adopted(net), validation=VALIDATION).fit(X, Y)


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("name", sorted(OF_EVERY_STEP))
def test_what_repeats_the_training_is_refused_by_name(net, name, checkpoints):
    checkpoints = checkpoints_of(net) if checkpoints else None
    with pytest.raises(ValueError, match=f'"{name}".*needs every step of the training'):
        influence(adopted(net, checkpoints=checkpoints), name).fit(X, Y)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (GIF(n_checkpoints=None), "n_checkpoints=None needs every step"),
        (GIF(n_checkpoints=7), "n_checkpoints=7 .* the 3 checkpoints that from_module was given"),
        (GIF(rates="effective"), 'rates="effective" .* needs every step'),
        (TRAK(n_checkpoints=7), "the 3 checkpoints"),
        (SelfInfluence(n_checkpoints=7), "the 3 checkpoints"),
        (HIF(ascent="batch"), 'Use ascent="full"'),
    ],
)
def test_settings_that_need_more_than_checkpoints_are_refused(net, method, message):
    with pytest.raises(ValueError, match=message):
        influence(adopted(net, checkpoints=checkpoints_of(net)), method).fit(X, Y)


def test_further_training_needs_a_rate(net):
    method = FurtherTraining(n_epochs=1, rows=[0])
    with pytest.raises(ValueError, match=r"lr must be given .* is not known"):
        influence(adopted(net, lr=None), method).fit(X, Y)


@pytest.mark.slow
def test_further_training_has_the_curve_of_the_net_trained_here(net):
    method = FurtherTraining(n_epochs=3, n_seeds=2, rows=[0, 5, 9])
    data = X, Y, VALIDATION.X, VALIDATION.y
    known = further_training(net, *data, method=method, random_state=0)
    found = further_training(adopted(net), *data, method=method, random_state=0)
    assert_equal(found.curves(), known.curves())


def test_diagnose_knows_what_the_trained_net_knows(net):
    table = influence(adopted(net), "grad-dot").fit(X, Y).diagnose()
    known = influence(FrozenEstimator(net), "grad-dot").fit(X, Y).diagnose()
    assert table["check"].tolist() == known["check"].tolist()
    np.testing.assert_allclose(table["value"], known["value"], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fitted: fitted.diagnose(smoothness="prediction"), "diagnose.smoothness"),
        (lambda fitted: fitted.diagnose(X, Y, n_seeds=1), "nor a net of from_module"),
        (lambda fitted: fitted.remove([0], verify=1), '"loo"'),
    ],
)
def test_checks_that_train_again_are_refused(net, call, message):
    fitted = influence(adopted(net), HIF("fast", damping=0.1)).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        call(fitted)


def test_rows_are_removed_and_predictions_explained(net):
    with_checkpoints = adopted(net, checkpoints=checkpoints_of(net))
    found = influence(with_checkpoints, "gif").fit(X, Y)
    known = influence(FrozenEstimator(net), "gif").fit(X, Y)
    edited, expected = found.remove([0, 3]), known.remove([0, 3])
    np.testing.assert_allclose(edited.predict_proba(X), expected.predict_proba(X), atol=1e-12)
    one, other = (each.explain(X[:1], Y[:1], k=2) for each in (found, known))
    assert one["train_row"].tolist() == other["train_row"].tolist()


def test_it_is_taken_wherever_a_frozen_net_is(net):
    plain = adopted(net)
    expected = influence(FrozenEstimator(plain), "grad-dot").fit(X, Y).scores_
    table, scores = compare(["grad-dot"], plain, X, Y, validation=VALIDATION, return_scores=True)
    np.testing.assert_array_equal(scores["grad-dot"], expected)
    assert np.isnan(table["trainings"]["grad-dot"])
    with pytest.raises(ValueError, match="needs every step"):
        leave_one_out(plain, X, Y, VALIDATION)


def test_steps_before_it_are_fitted(net):
    scaler = StandardScaler().fit(X)
    scaled = SAMClassifier.from_module(net.module_, scaler.transform(X), Y, rho=RHO)
    found = influence(make_pipeline(StandardScaler(), scaled), "grad-dot").fit(X, Y)
    held_out = ValidationData(scaler.transform(VALIDATION.X), VALIDATION.y)
    expected = SAMInfluence(scaled, method="grad-dot", validation=held_out)
    expected = expected.fit(scaler.transform(X), Y).scores_
    np.testing.assert_allclose(found.scores_, expected, rtol=1e-10)


def test_sample_weights_and_parameters(net):
    weight = np.linspace(0.5, 1.5, len(X))
    known = trained(module(), max_epochs=1, sample_weight=weight)
    plain = adopted(known, sample_weight=weight)
    settings = {"parameters": ["2.*"]}
    one = influence(plain, HIF(damping=0.1), **settings).fit(X, Y, sample_weight=weight)
    other = influence(FrozenEstimator(known), HIF(damping=0.1), **settings)
    assert_equal(one.scores_, other.fit(X, Y, sample_weight=weight).scores_)
    with pytest.raises(ValueError, match="from_module was given other data: sample_weight differ"):
        influence(plain, "grad-dot").fit(X, Y)
