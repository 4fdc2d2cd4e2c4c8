"""Checkpoints that a user gives: state dicts and files, checked against the module."""

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from sam_attribution import SAMClassifier
from sam_attribution._fingerprint import fingerprint
from sam_attribution.training import Checkpoint
from sam_attribution.training._saved_weights import SavedWeights
from tests.adopted import X, Y, with_batch_norm

NETWORK = with_batch_norm()
STATE = {
    name: 0.5 * value if value.is_floating_point() else value
    for name, value in NETWORK.state_dict().items()
}


def prefixed(prefix):
    return {f"{prefix}{name}": value for name, value in STATE.items()}


def saved(kind, folder):
    """A file that holds STATE in one of the ways that people keep it."""
    if kind == "safetensors":
        path = folder / "weights.safetensors"
        save_file(STATE, path)
        return path
    content = {
        "torch": STATE,
        "Lightning": {"epoch": 3, "state_dict": prefixed("model.")},
        "tutorial": {"epoch": 3, "model_state_dict": prefixed("module.")},
        "timm": {"epoch": 3, "model": STATE, "model_ema": {}},
        "compiled": prefixed("_orig_mod."),
        "both": prefixed("module._orig_mod."),
    }[kind]
    torch.save(content, folder / "weights.pt")
    return folder / "weights.pt"


@pytest.mark.parametrize(
    "kind", ["safetensors", "torch", "Lightning", "tutorial", "timm", "compiled", "both"]
)
def test_a_file_is_read_as_the_state_that_it_holds(kind, tmp_path):
    checkpoint = Checkpoint(saved(kind, tmp_path), rate=1.0)
    reader = SavedWeights(NETWORK)
    reader.check(checkpoint.state, "it")
    params, buffers = reader.read(checkpoint.state, "it")
    expected = [STATE[name].flatten() for name, _ in NETWORK.named_parameters()]
    assert torch.equal(params, torch.cat(expected))
    assert all(torch.equal(buffers[name], STATE[name]) for name, _ in NETWORK.named_buffers())


def test_a_state_dict_is_copied():
    weight = torch.ones(3, 4)
    checkpoint = Checkpoint({"weight": weight}, rate=1.0)
    weight.zero_()  # as the next step of the training does
    assert checkpoint.state["weight"].min() == 1


def test_a_file_that_was_replaced_is_another_checkpoint(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(STATE, path)
    first, again = (fingerprint(Checkpoint(path, rate=1)) for _ in range(2))
    torch.save(STATE | {"more": torch.ones(1000)}, path)
    assert first == again != fingerprint(Checkpoint(path, rate=1))


def test_buffers_that_are_not_saved_are_those_of_the_module():
    network = nn.Linear(2, 2)
    network.register_buffer("scale", torch.full((2,), 3.0), persistent=False)
    _, buffers = SavedWeights(network).read(Checkpoint(network.state_dict(), rate=1).state, "it")
    assert buffers["scale"].tolist() == [3, 3]


class Tied(nn.Module):
    """The head shares its weight with the embedding, as in language models."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("kept", ["embedding.weight", "head.weight"])
def test_of_tied_weights_a_file_has_one_name(kept, prefix, tmp_path):
    # safetensors stores no tensor twice
    weight = torch.randn(5, 3)
    save_file({prefix + kept: weight}, tmp_path / "a.safetensors")
    reader, path = SavedWeights(Tied()), str(tmp_path / "a.safetensors")
    reader.check(path, "it")
    assert torch.equal(reader.read(path, "it")[0], weight.flatten())


def test_a_module_around_the_saved_one_takes_its_weights():
    wrapped = nn.ModuleDict({"network": nn.ModuleDict({"inner": NETWORK})})
    reader = SavedWeights(wrapped)
    for state in (STATE, prefixed("inner."), prefixed("network.inner.")):
        expected = SavedWeights(NETWORK).read(STATE, "it")[0]
        assert torch.equal(reader.read(state, "it")[0], expected)
    with pytest.raises(ValueError, match=r"it has no 'network.inner.0.bias'"):
        reader.check(prefixed("other."), "it")


def adopt(*checkpoints):
    return SAMClassifier.from_module(NETWORK, X, Y, checkpoints=checkpoints)


def without(name):
    return {key: value for key, value in STATE.items() if key != name}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without("0.bias"), r"checkpoints\[1\] has no '0.bias' \(1 of the 9 tensors"),
        (
            STATE | {"9.bias": torch.ones(2)},
            r"checkpoints\[1\] has '9.bias', which module does not have",
        ),
        (STATE | {"0.bias": torch.ones(2)}, r"'0.bias' in shape \(2,\), module in \(5,\)"),
        ("nowhere.pt", r"checkpoints\[1\]: there is no file 'nowhere.pt'"),
        (prefixed("net.") | {"loss.weight": torch.ones(3)}, r"lie under 'net.' there, beside"),
        (STATE | {"0.bias": torch.ones(5, dtype=torch.int8)}, r"'0.bias' in int8, module in float"),
        (STATE | {"0.bias": torch.ones(5) * 1j}, r"'0.bias' in complex64, module in float64"),
        (STATE | {"0.bias": torch.ones(5).to_sparse()}, r"'0.bias' in sparse_coo, float32"),
        (".", r"checkpoints\[1\]: there is no file '.'. It is a folder: name the file in it"),
    ],
)
def test_weights_of_another_network_are_named_before_anything_is_computed(state, message):
    with pytest.raises(ValueError, match=message):
        adopt(Checkpoint(STATE, rate=1), Checkpoint(state, rate=1))


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (torch.ones(2), r"'0.bias' in shape \(2,\)"),
        (torch.ones(5, dtype=torch.int8), r"'0.bias' in int"),
    ],
)
def test_shapes_and_types_in_a_file_are_checked_as_well(bias, message, tmp_path):
    save_file(STATE | {"0.bias": bias}, tmp_path / "a.safetensors")
    torch.save(STATE | {"0.bias": bias}, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        with pytest.raises(ValueError, match=message):
            adopt(Checkpoint(tmp_path / name, rate=1))


def tied():
    """Two layers of one weight."""
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    return network


@pytest.mark.parametrize("left_out", ["0.weight", "1.weight", None])
def test_a_tied_weight_may_be_saved_once(left_out, tmp_path):
    network, trained = tied(), tied()
    expected = torch.cat([p.detach().flatten() for p in trained.parameters()])
    if left_out is None:  # the one that safetensors leaves out
        save_model(trained, tmp_path / "a.safetensors")
        state = str(tmp_path / "a.safetensors")
    else:
        state = {key: p for key, p in trained.state_dict().items() if key != left_out}
    reader = SavedWeights(network)
    reader.check(state, "it")
    assert torch.equal(reader.read(state, "it")[0], expected)


def test_a_tied_weight_has_one_value():
    state = tied().state_dict() | {"1.weight": torch.zeros(3, 3)}
    with pytest.raises(ValueError, match=r"it has other values of '1.weight' than of '0.weight'"):
        SavedWeights(tied()).read(state, "it")


@pytest.mark.parametrize("content", [nn.Linear(2, 2), [1, 2], None])
def test_a_file_that_holds_something_else_says_what_to_do(content, tmp_path):
    path = tmp_path / "a.pt"
    if content is None:
        path.write_text("no weights")
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"checkpoints\[0\].* Save module.state_dict\(\)"):
        adopt(Checkpoint(path, rate=1))


def test_frozen_parameters_have_to_be_those_of_the_module():
    network = with_batch_norm()
    network[0].weight.requires_grad_(False)
    reader = SavedWeights(network)
    reader.read(network.state_dict(), "it")
    with pytest.raises(ValueError, match=r"it has other values of '0.weight' than module"):
        reader.read(STATE, "it")


def test_weights_that_are_not_finite_are_named():
    with pytest.raises(ValueError, match="it has weights that are not finite"):
        SavedWeights(NETWORK).read(STATE | {"0.bias": torch.full((5,), torch.nan)}, "it")
    with pytest.raises(ValueError, match=r"it has NaN in '1.running_mean', a buffer"):
        SavedWeights(NETWORK).read(STATE | {"1.running_mean": torch.full((5,), torch.nan)}, "it")
    with pytest.raises(ValueError, match=r"no values of '0.bias', which is on the meta device"):
        Checkpoint(STATE | {"0.bias": torch.ones(5, device="meta")}, rate=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": -1.0}, "rate of a Checkpoint must be a number of 0 or more, got -1.0"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": True}, "rate"),
        ({"rate": 1, "rho": "0.1"}, "rho of a Checkpoint must be a number"),
        ({"rate": 1, "rows": [True, False]}, "positions of the rows of one batch"),
        ({"rate": 1, "rows": []}, "positions of the rows of one batch"),
        ({"rate": 1, "rows": [3, 3]}, "each of them once"),
        ({"rate": 1, "rows": [-1]}, "positions from 0 on"),
    ],
)
def test_wrong_numbers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint(STATE, **arguments)


@pytest.mark.parametrize("state", [3, {}, {"epoch": 3}, NETWORK])
def test_a_state_is_a_state_dict_or_a_path(state):
    with pytest.raises(TypeError, match=r"state of a Checkpoint must be module.state_dict\(\)"):
        Checkpoint(state, rate=1)
    with pytest.raises(TypeError, match="without tensors, which has dict under 'net'"):
        Checkpoint({"net": STATE}, rate=1)


@pytest.mark.parametrize(
    ("checkpoints", "error", "message"),
    [
        ([STATE], TypeError, r"checkpoints\[0\] must be a Checkpoint"),
        (Checkpoint(STATE, rate=1), TypeError, "must be a list of Checkpoint"),
        (3, TypeError, "must be a list of Checkpoint, got 3"),
        ([Checkpoint(STATE, rate=1, rows=[len(X)])], ValueError, f"row {len(X)}, but X has"),
        ([Checkpoint(STATE, rate=0)], ValueError, "all have rate=0"),
    ],
)
def test_the_list_is_checked(checkpoints, error, message):
    with pytest.raises(error, match=message):
        SAMClassifier.from_module(NETWORK, X, Y, checkpoints=checkpoints)
