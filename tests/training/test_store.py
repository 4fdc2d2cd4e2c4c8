"""Files are what they were, or refused by name."""

import json
import math
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.base import clone

from sam_attribution.training import SAMClassifier
from sam_attribution.training._trajectory import Step
from sam_attribution.training.storage import _stored_states
from sam_attribution.training.storage._packing import from_bytes, to_bytes
from sam_attribution.training.storage._schedule_data import schedule_as_data, schedule_of
from sam_attribution.training.storage._store import Store
from tests.training.killed_runs import X, y


def fitted(folder, **params):
    settings = {"trajectory": 2, "max_epochs": 2, "batch_size": 20, "random_state": 0, **params}
    return SAMClassifier(trajectory_dir=folder, **settings).fit(X, y)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "run"
    fitted(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def read_all(folder):
    clf = SAMClassifier.resume(folder, X, y)
    return [state.params for state in clf.trajectory_.states]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def empty(path):
    path.write_bytes(b"")


def edit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def delete(path):
    path.unlink()


def mix_up(path):
    others = [other for other in path.parent.iterdir() if other != path]
    shutil.copy(others[0], path)


KINDS = ["manifest.json", "checkpoint-000003", "epoch-000001", "state-00000000", "state-00000004"]


@pytest.mark.parametrize("damage", [truncate, empty, edit, delete, mix_up])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_that_names_the_file(folder, kind, damage):
    (path,) = folder.glob(f"{kind}*")
    damage(path)
    # a run has the same states in every process: none may come from a cache of its twin
    _stored_states._read_state.cache_clear()
    with pytest.raises(ValueError, match=path.name) as caught:
        read_all(folder)
    assert any(word in str(caught.value) for word in ("Restore", "call fit"))


def test_files_of_another_run_are_refused(folder, tmp_path):
    fitted(tmp_path / "other", random_state=1)
    shutil.copy(tmp_path / "other" / "manifest.json", folder)
    with pytest.raises(ValueError, match=r"checkpoint-000003\.safetensors is not the file"):
        SAMClassifier.resume(folder, X, y)


def test_what_is_rare_in_a_step_is_written_down():
    rows = np.arange(3)
    odd = {"changed_by": ("Halved",), "without_gradient": ("idle.weight", "idle.bias")}
    steps = [Step(rows, (0.1,), 0.2), Step(rows, (0.1,), 0.2, **odd), Step(rows, (0.1,), 0.2)]
    read = schedule_of(from_bytes(to_bytes(schedule_as_data(steps))))
    assert [replace(step, indices=None) for step in read] == [
        replace(step, indices=None) for step in steps
    ]


def test_another_format_is_refused(folder, monkeypatch):
    monkeypatch.setattr("sam_attribution.training.storage._store.FORMAT", 2)
    with pytest.raises(ValueError, match=r"manifest.json has format 1.*reads format 2"):
        SAMClassifier.resume(folder, X, y)


def test_everything_is_json_or_safetensors(folder):
    json.loads((folder / "manifest.json").read_text())
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) + 1 == len(list(folder.iterdir()))
    for path in files:
        with safe_open(path, framework="pt") as content:
            json.loads(content.metadata()["content"])


def test_a_folder_holds_one_run(folder):
    with pytest.raises(ValueError, match=r"manifest.json is of another run.*resume"):
        fitted(folder)
    assert len(read_all(folder)) == 4


def test_two_nets_cannot_write_into_one_folder(folder):
    one, other = (SAMClassifier.resume(folder, X, y) for _ in range(2))
    one.partial_fit(X, y)
    with pytest.raises(ValueError, match="of another run"):
        other.partial_fit(X, y)


def test_clones_and_pickles(folder):
    clf = SAMClassifier.resume(folder, X, y)
    assert clone(clf).trajectory_dir == clf.trajectory_dir
    copied = pickle.loads(pickle.dumps(clf))
    assert torch.equal(copied.trajectory_.states[1].params, clf.trajectory_.states[1].params)


def test_states_are_read_when_asked_for_and_not_kept(folder, monkeypatch):
    states = SAMClassifier.resume(folder, X, y).trajectory_.states
    _stored_states._read_state.cache_clear()
    files = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda *args: files.append(args[1]["file"]) or read(*args))
    assert [state.step for state in states] == [0, 1, 4, 6]
    assert files == []
    for state in states[1:3]:
        assert state.params.shape == (290,)
        assert state.buffers == {}
    assert files == ["state-00000001.safetensors", "state-00000004.safetensors"]
    assert _stored_states._read_state.cache_info().maxsize == 1


@pytest.mark.parametrize(
    ("params", "bytes_per_parameter"),
    [
        ({}, 4),
        ({"optimizer__momentum": 0.9}, 8),
        ({"optimizer": torch.optim.AdamW}, 12),
    ],
)
def test_cost_of_a_state_is_as_documented(tmp_path, params, bytes_per_parameter):
    clf = fitted(tmp_path, module__n_hidden=2000, **params)
    n_params = len(clf.trajectory_.states[0].params)
    size = (tmp_path / "state-00000004.safetensors").stat().st_size
    assert 0 < size - bytes_per_parameter * n_params < 4000


def test_tied_weights_count_once(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
            self.second.weight = self.first.weight

        def forward(self, X):
            return self.second(self.first(X).relu())[:, :2]

    clf = fitted(tmp_path, module=Tied)
    assert clf.trajectory_.states[0].params.shape == (48,)
    read = SAMClassifier.resume(tmp_path, X, y, module=Tied)
    assert read.module_.second.weight is read.module_.first.weight
    assert torch.equal(read.module_.first.weight, clf.module_.first.weight)


def test_packing_gives_back_what_it_was_given():
    tensor = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    value = {
        "plain": [None, True, 3, 0.1, "ü", (1, 2), {4}],
        0: {"0": np.float32(0.1), 0: np.int64(2**40), "nested": {"x": math.inf}},
        "tensors": (tensor, tensor.T, tensor[0], torch.tensor(3.0), torch.zeros(0)),
        "arrays": [np.array(["a", "bc"]), np.array([1, 2], "u4"), np.zeros((0, 3))],
        "objects": np.array(["a", 1], dtype=object),
    }
    back = from_bytes(to_bytes(value))
    assert back["plain"] == value["plain"]
    assert back[0] == value[0]
    assert type(back[0]["0"]) is np.float32
    for found, expected in zip(back["tensors"], value["tensors"], strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    for found, expected in zip(back["arrays"], value["arrays"], strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert back["objects"].tolist() == ["a", 1]


def test_one_tensor_under_two_names_is_stored_once():
    tensor = torch.ones(1000)
    assert len(to_bytes({"a": tensor, "b": tensor})) < 5000
    back = from_bytes(to_bytes({"a": tensor, "b": tensor}))
    assert back["a"] is back["b"]


def test_what_is_no_data_is_refused_by_its_place():
    with pytest.raises(TypeError, match=r"content.a.1 is a object, which cannot be stored"):
        to_bytes({"a": [1, object()]})
