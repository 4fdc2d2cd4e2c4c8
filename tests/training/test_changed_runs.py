"""Stored runs with one thing changed: resume gives the same bits, or an error by name."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from sam_attribution.training import SAMClassifier
from sam_attribution.training.storage import _stored_states
from sam_attribution.training.storage._manifest import manifest_bytes

rng = np.random.default_rng(0)
X = rng.normal(size=(12, 3)).astype("float32")
y = (X[:, 0] > 0).astype(int)


class Linear(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A finished run, and one that stopped after its first epoch, with what each leads to."""
    folder = tmp_path_factory.mktemp("runs")
    params = {"batch_size": 6, "trajectory": 2, "random_state": 0, "optimizer__momentum": 0.9}
    net = SAMClassifier(Linear, trajectory_dir=folder / "finished", max_epochs=2, **params)
    whole = numbers_of(net.fit(X, y))
    net = SAMClassifier(Linear, trajectory_dir=folder / "stopped", max_epochs=2, **params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SAMClassifier, "run_single_epoch", first_only(net.run_single_epoch))
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y)
    return {name: (folder / name, whole) for name in ("finished", "stopped")}


def first_only(bound):
    def run(net, *args, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt
        return bound.__func__(net, *args, **kwargs)

    return run


def numbers_of(net):
    """Everything that must be the same."""
    recorded = net.trajectory_
    states = [tensor for s in recorded.states for tensor in (s.params, *momentum(s))]
    return [
        nn.utils.parameters_to_vector(net.module_.parameters()).detach(),
        *states,
        torch.tensor([(*s.rates, s.rho, s.perturbation_norm) for s in recorded.schedule]),
        torch.tensor(np.stack([s.indices for s in recorded.schedule])),
        torch.tensor([(s.first, s.middle, s.last) for s in recorded.stretches]),
        torch.tensor(net.history[:, "train_loss"]),
    ]


def momentum(state):
    buffers = state.optimizer["state"].values()
    return [each["momentum_buffer"] for each in buffers if each["momentum_buffer"] is not None]


def delete(path, other, data):
    path.unlink()


def truncate(path, other, data):
    path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, path.stat().st_size - 1))])


def flip(path, other, data):
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)


def append(path, other, data):
    path.write_bytes(path.read_bytes() + data.draw(st.binary(min_size=1, max_size=20)))


def copy(path, other, data):
    path.write_bytes(other.read_bytes())


def rename(path, other, data):
    path.rename(path.with_name(f"{path.stem}-1{path.suffix}"))


def swap(path, other, data):
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["", "..", "../x", "/etc/hostname", "manifest.json", "a" * 64, "\ud800"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(content):
    """Every (container, key) in nested JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, dict | list):
            yield from places(value)


def changed(content, data):
    """One value of a manifest is changed or left out."""
    found = list(places(content))
    container, key = found[data.draw(st.integers(0, len(found) - 1))]
    if data.draw(st.booleans()):
        del container[key]
    else:
        container[key] = data.draw(ODD)
    return content


def edit(path, other, data):
    path = path.with_name("manifest.json")
    path.write_text(json.dumps(changed(json.loads(path.read_text()), data)))


def outcome(folder):
    """Numbers of the resumed run, or None if it was refused by name."""
    _stored_states._read_state.cache_clear()
    try:
        return numbers_of(SAMClassifier.resume(folder, X, y, module=Linear))
    except (ValueError, OSError) as error:
        said = str(error)
    # a forged setting may be one that no net takes
    assert str(folder) in said or "parameter of SAMClassifier must be" in said
    return None


PROFILE = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def drawn_copy(originals, tmp_path, data):
    name = data.draw(st.sampled_from(sorted(originals)))
    original, whole = originals[name]
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(original, folder), whole


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # drawn text in them may be such that no report can be sent
@PROFILE
@given(st.data())
def test_a_changed_run_is_the_same_or_refused_by_name(originals, tmp_path, data):
    folder, whole = drawn_copy(originals, tmp_path, data)
    files = sorted(folder / name for name in os.listdir(folder))
    path, other = (data.draw(st.sampled_from(files)) for _ in range(2))
    changes = [delete, truncate, flip, append, copy, rename, swap, edit]
    data.draw(st.sampled_from(changes))(path, other, data)
    found = outcome(folder)
    assert found is None or all(map(torch.equal, found, whole))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # drawn text in them may be such that no report can be sent
@PROFILE
@given(st.data())
def test_a_manifest_with_a_forged_hash_gives_no_foreign_error(originals, tmp_path, data):
    folder, _ = drawn_copy(originals, tmp_path, data)
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_bytes(manifest_bytes(changed(content, data)))
    outcome(folder)
