"""Files are what they were, or refused by name."""

import errno
import json
import math
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.base import clone
from skorch.callbacks import Callback

from sam_attribution._version import __version__
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.training import SAMClassifier
from sam_attribution.training._trajectory import Step
from sam_attribution.training.storage import _store, _stored_states
from sam_attribution.training.storage._manifest import manifest_bytes
from sam_attribution.training.storage._packing import from_bytes, to_bytes
from sam_attribution.training.storage._schedule_data import schedule_as_data, schedule_of
from sam_attribution.training.storage._store import Store
from sam_attribution.training.storage._writing import PARTIAL, write_whole
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
    monkeypatch.setattr("sam_attribution.training.storage._manifest.FORMAT", 5)
    wrote = rf"has format 4, .* reads format 5. Use the version that wrote it \({__version__}\)"
    with pytest.raises(ValueError, match=wrote):
        SAMClassifier.resume(folder, X, y)


def test_everything_is_json_or_safetensors(folder):
    json.loads((folder / "manifest.json").read_text())
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) + 1 == len(list(folder.iterdir()))
    for path in files:
        with safe_open(path, framework="pt") as content:
            json.loads(content.metadata()["content"])


def test_a_folder_holds_one_run(folder):
    with pytest.raises(ValueError, match=r"manifest.json belongs to another run.*resume"):
        fitted(folder)
    assert len(read_all(folder)) == 4


def test_two_nets_cannot_write_into_one_folder(folder):
    one, other = (SAMClassifier.resume(folder, X, y) for _ in range(2))
    one.partial_fit(X, y)
    with pytest.raises(ValueError, match="belongs to another run"):
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


OWN_TYPES = {
    "max_epochs": np.int64(2),
    "lr": np.float32(0.1),
    "trajectory": np.int32(2),
    "iterator_train__shuffle": np.bool_(True),
    "rho": np.float64(0.05),
    "batch_size": np.uint8(20),
}


def test_numbers_of_numpy_are_stored(tmp_path):
    clf = fitted(tmp_path / "numpy", **OWN_TYPES)
    plain = fitted(tmp_path / "plain", **{k: v.item() for k, v in OWN_TYPES.items()})
    resumed = SAMClassifier.resume(tmp_path / "numpy", X, y)
    for name, value in OWN_TYPES.items():
        assert type(getattr(resumed, name)) is type(value)
        assert getattr(resumed, name) == value
    assert np.array_equal(resumed.predict_proba(X), clf.predict_proba(X))
    assert np.array_equal(resumed.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize(
    "value", [Path("a/b"), torch.float64, torch.device("cpu"), (1, (2.0, Path("c"))), np.str_("a")]
)
def test_settings_that_are_plain_in_torch_and_python_come_back(value):
    back = from_bytes(to_bytes(value))
    assert back == value
    assert type(back) is type(value)


def test_a_number_that_python_does_not_know_is_refused():
    with pytest.raises(TypeError, match=r"content is a \w+, which cannot be stored"):
        to_bytes(np.longdouble(1))


FOREIGN = (
    "model-00001-of-00002.safetensors",
    "checkpoint-00001-of-00002.safetensors",
    "checkpoint-best.pt",
    "state-dict.pt",
    "epoch-3.log",
    "download.partial",
    "notes.txt",
)


def test_files_of_the_user_stay(tmp_path):
    for name in FOREIGN:
        (tmp_path / name).write_text(name)
    (tmp_path / f"manifest.json{PARTIAL}").write_text("left by a kill")
    fitted(tmp_path)
    SAMClassifier.resume(tmp_path, X, y).partial_fit(X, y)
    assert [(tmp_path / name).read_text() for name in FOREIGN] == list(FOREIGN)
    assert not list(tmp_path.glob(f"*{PARTIAL}"))


def test_files_that_the_run_would_replace_are_refused(tmp_path):
    mine = tmp_path / "checkpoint-000000.safetensors"
    mine.write_text("mine")
    with pytest.raises(ValueError, match=r"trajectory_dir=.* holds checkpoint-000000.* an empty"):
        fitted(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    assert mine.read_text() == "mine"


def test_a_run_that_stopped_is_named_when_its_folder_is_taken(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fills_up(patch, at_file="epoch-000002")
        with pytest.raises(OSError, match="is full"):
            fitted(tmp_path)
    with pytest.raises(ValueError, match=r"another run, which stopped after 1 of 2 epochs.*resume"):
        fitted(tmp_path)


class AtSecondEpoch(Callback):
    """Calls a function when the second epoch ends."""

    def __init__(self, act):
        self.act = act

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            self.act()


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_folder_that_goes_away_while_training_is_an_error(tmp_path, comes_back):
    def go_away():
        shutil.rmtree(tmp_path / "run")
        if comes_back:
            (tmp_path / "run").mkdir()

    with pytest.raises(ValueError, match="trajectory_dir was deleted or moved while it was in use"):
        fitted(tmp_path / "run", max_epochs=4, callbacks=[AtSecondEpoch(go_away)])
    assert not list((tmp_path / "run").glob("*"))


def test_a_folder_that_goes_away_within_an_epoch_is_an_error(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    fills_up(monkeypatch, at_file="state-00000004", how=lambda: shutil.rmtree(folder))
    with pytest.raises(OSError, match=r"trajectory_dir=.*run' cannot be .* deleted or moved"):
        fitted(folder)
    assert not (tmp_path / "run").exists()


def fills_up(monkeypatch, at_file, how=None):
    """Let the disk be full, or something else happen, when one file is written."""

    def write(path, data):
        if path.name.startswith(at_file):
            if how is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            how()
        write_whole(path, data)

    monkeypatch.setattr(_store, "write_whole", write)


def test_a_full_disk_is_an_error_by_name_and_the_run_goes_on_afterwards(tmp_path, monkeypatch):
    whole = fitted(tmp_path / "whole")
    with monkeypatch.context() as patch:
        fills_up(patch, at_file="epoch-000002")
        with pytest.raises(OSError, match=r"trajectory_dir=.* No space left .* free some space"):
            fitted(tmp_path / "full")
    with pytest.warns(AttributionWarning, match=r"stopped with OSError.*\(after 1 of 2 epochs\)"):
        resumed = SAMClassifier.resume(tmp_path / "full", X, y)
    assert np.array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    assert json.loads((tmp_path / "full" / "manifest.json").read_text())["error"] is None


@pytest.mark.parametrize("folder", ["file", "file/run"])
def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=rf"trajectory_dir=.*{folder}' cannot .* Pass a folder, not"):
        fitted(tmp_path / folder)


def test_the_first_state_is_checked_before_anything_is_built_on_it(folder):
    edit(folder / "state-00000000.safetensors")
    with pytest.raises(ValueError, match=r"state-00000000\.safetensors is not the file"):
        SAMClassifier.resume(folder, X, y)


def forge(folder, change):
    """Change a manifest and give it the hash that belongs to it."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    change(content)
    path.write_bytes(manifest_bytes(content))


def outside(content):
    content["checkpoint"]["file"] = "../run/" + content["checkpoint"]["file"]


def absolute(content):
    content["epochs"][0]["file"] = "/etc/hostname"


def dots(content):
    content["epochs"][0]["file"] = ".."


def changed(key, value):
    return lambda content: content.update({key: value})


FORGERIES = {
    "outside": (outside, "'checkpoint': .* which no run has"),
    "absolute": (absolute, "'epochs': .* which no run has"),
    "dots": (dots, "'epochs': .* which no run has"),
    "huge": (changed("until", 10**30), "'until': 10*, which no run has"),
    "negative": (changed("n_threads", -1), "'n_threads': -1, which no run has"),
    "wrong type": (changed("epochs", {"file": 3}), "'epochs': .* which no run has"),
    "other keys": (changed("data", {"X": None}), "'data': .* which no run has"),
    "missing": (lambda content: content.pop("seed"), "lacks 'seed', which every run has"),
    "setting": (lambda content: content["settings"].update(values={"dict": [["lr", 9.0]]}), "lr"),
    "no setting": (lambda content: content["settings"].update(values=[3]), "does not hold what"),
    "fewer": (lambda content: content["written"].update(steps=5), "lists .* its files hold"),
}


@pytest.mark.parametrize(("change", "message"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_manifest_is_refused_by_name(folder, change, message):
    forge(folder, change)
    with pytest.raises(ValueError, match=rf"manifest\.json .*{message}"):
        SAMClassifier.resume(folder, X, y)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"3", b"[" * 100_000, b"\xff\xfe", b'{"a": 1e999}', b"9" * 5000]
)
def test_what_is_no_manifest_is_refused_by_name(folder, text):
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(
        ValueError, match=r"manifest\.json was truncated or edited, or belongs to anoth"
    ):
        SAMClassifier.resume(folder, X, y)


def test_a_link_in_the_place_of_a_file_is_refused(folder, tmp_path):
    for path in folder.glob("checkpoint*"):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    with pytest.raises(ValueError, match=r"checkpoint-000003\.safetensors is a link"):
        SAMClassifier.resume(folder, X, y)


def test_the_version_is_noted_and_another_one_is_named(folder):
    assert json.loads((folder / "manifest.json").read_text())["sam_attribution"] == __version__
    forge(folder, lambda content: content["versions"].update(sam_attribution="9.9"))
    with pytest.warns(AttributionWarning, match=r"json was written with sam_attribution 9\.9\."):
        SAMClassifier.resume(folder, X, y)
