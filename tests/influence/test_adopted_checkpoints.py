"""Scores along the checkpoints of an adopted network: recorded stretches, and explicit sums."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from sam_attribution import (
    MislabelDetector,
    MislabelFilter,
    SAMClassifier,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)
from sam_attribution.methods import (
    GIF,
    HIF,
    TRAK,
    SelfInfluence,
    TracIn,
)
from sam_attribution.training import Checkpoint
from tests.adopted import (
    LR,
    RHO,
    VALIDATION,
    X,
    Y,
    adopted,
    assert_equal,
    checkpoints_of,
    influence,
    module,
    trained,
    with_batch_norm,
)

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


@pytest.fixture(scope="module")
def net():
    return trained(module())


@pytest.fixture(scope="module")
def with_norm():
    return trained(with_batch_norm())


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_CHECKPOINTS)
@pytest.mark.filterwarnings("ignore::sam_attribution.exceptions.AttributionWarning")
def test_scores_of_checkpoints_are_those_of_the_recorded_stretches(net, name):
    compare_with_recorded_stretches(net, name)


@pytest.mark.parametrize("name", ["gif", "tracin, w+eps", "self-influence, w+eps"])
def test_eps_is_that_of_batch_norm_in_training(with_norm, name):
    """The statistics of the batch are known, where its rows are."""
    compare_with_recorded_stretches(with_norm, name)


def test_parts_of_a_batch_climb_apart_at_checkpoints_too():
    compare_with_recorded_stretches(trained(module(), m_sharpness=3), "gif")


def compare_with_recorded_stretches(net, name):
    settings = {"checkpoints": checkpoints_of(net), "m_sharpness": net.m_sharpness}
    with_checkpoints = adopted(net, **settings)
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
    advice = table["advice"]["evaluation_mode"]
    assert advice.startswith("comparison.further_training")
    assert "n_checkpoints" not in advice


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


def test_the_detector_ranks_by_the_final_weights(net):
    """Beside weights that no label has touched, it tells whether checked labels are better."""
    start, *_, last = checkpoints_of(net)
    detector = MislabelDetector(adopted(net, checkpoints=[start, last]), validation=VALIDATION)
    assert np.isfinite(detector.fit(X, Y).diagnostics_["agreement"][0])
    network = copy.deepcopy(net.module_)
    network.load_state_dict(last.state)
    with torch.no_grad():
        log_p = network(torch.tensor(X)).log_softmax(1)[range(len(Y)), Y]
    np.testing.assert_allclose(detector.score_components_["network"], log_p, rtol=1e-5)


class OfIntegers(torch.nn.Module):
    """A network whose rows hold no floating-point numbers."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, rows):
        return self.inner(rows.double() / 1000)


@pytest.mark.parametrize("asked", ["the count", "a share", "the count, from before training"])
def test_a_count_by_states_that_know_the_labels_is_doubted(net, asked):
    start, *_, last = checkpoints_of(net)
    module = OfIntegers(copy.deepcopy(net.module_))
    states = [start, last] if asked.endswith("training") else [last]
    known = [
        Checkpoint({f"inner.{name}": each for name, each in state.state.items()}, rate=state.rate)
        for state in states
    ]
    rng = np.random.default_rng(0)
    sizes = (200, X.shape[1]), (100, X.shape[1])
    rows, checked = (np.round(1000 * rng.normal(size=size)).astype(int) for size in sizes)
    y, y_checked = net.predict(rows / 1000), net.predict(checked / 1000)  # labels that rows tell
    adopted_net = SAMClassifier.from_module(module, {"rows": rows}, y, checkpoints=known)
    validation = ValidationData({"rows": checked}, y_checked)
    detector = MislabelDetector(adopted_net, validation=validation)
    if asked == "a share":
        detector.set_params(contamination=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        detector.fit({"rows": rows}, y)
    doubted = any("no state from before its training" in str(each.message) for each in caught)
    assert doubted == (asked == "the count")
    assert np.isfinite(detector.contamination_)


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
