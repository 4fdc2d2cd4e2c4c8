import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import nn

from sam_attribution._fingerprint import _Above, _described, fingerprint
from sam_attribution.perturbation import PNorm
from sam_attribution.training import SAMClassifier


def make_module(width=3, slope=2.0):
    """A local class with a lambda, a closure and a reference to itself."""

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(4, width)
            self.dropout = nn.Dropout(0.1)
            self.activation = lambda x: slope * x

        def twin(self):
            return Module()

        def forward(self, X):
            return self.activation(self.dropout(self.layer(X)))

    return Module


def edited_module():
    class Module(make_module()):
        def forward(self, X):
            return -super().forward(X)

    return Module


SPARSE = csr_array(np.arange(6.0).reshape(2, 3))


def in_another_order():
    """SPARSE with its columns from the last to the first, and wide places."""
    indices = np.array([2, 1, 2, 1, 0], dtype="int64")
    indptr = np.array([0, 2, 5], dtype="int64")
    return csr_array((np.array([2.0, 1.0, 5.0, 4.0, 3.0]), indices, indptr), shape=(2, 3))


def looked_at(table):
    """A copy about which SciPy has noted something."""
    twin = table.copy()
    assert twin.has_canonical_format
    return twin


SAME = [
    (make_module(), make_module()),
    (make_module()(), copy.deepcopy(make_module()())),
    (lambda x: x + 1, lambda x: x + 1),
    (StratifiedKFold(3), StratifiedKFold(3)),
    (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3))),
    (SAMClassifier(make_module()), clone(SAMClassifier(make_module()))),
    (SAMClassifier(make_module()()), clone(SAMClassifier(make_module()()))),
    ({torch.ones(2): 1, torch.zeros(3): 2}, {torch.ones(2): 1, torch.zeros(3): 2}),
    (SPARSE, looked_at(SPARSE)),
    (SPARSE, in_another_order()),
]
DIFFERENT = [
    (make_module(3), make_module(4)),
    (make_module(slope=2.0), make_module(slope=3.0)),
    (make_module(), edited_module()),
    (lambda x: x + 1, lambda x: x + 2),
    (StratifiedKFold(3), StratifiedKFold(4)),
    (SAMClassifier(rho=0.1), SAMClassifier(rho=0.2)),
    (torch.zeros(3), torch.zeros(3, dtype=torch.int32)),
    (np.zeros(3), np.zeros(3, dtype="float32")),
    (SPARSE, 2 * SPARSE),
    (SPARSE, SPARSE.astype("float32")),
    (SPARSE, SPARSE[:, ::-1]),
    ({torch.ones(2): 1, torch.zeros(3): 2}, {torch.ones(2): 1, torch.zeros(3): 3}),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_equal_content_has_one_fingerprint(first, second):
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_other_content_has_another(first, second):
    assert fingerprint(first) != fingerprint(second)


def test_a_class_of_this_package_that_was_patched_is_another(monkeypatch):
    before = fingerprint(PNorm(2))
    assert fingerprint(PNorm(2)) == before
    monkeypatch.setattr(PNorm, "eps", lambda self, w, g, rho: 2 * rho * g)
    assert fingerprint(PNorm(2)) != before


def test_weights_and_settings_of_a_module_count():
    module = make_module()()
    before = fingerprint(module)
    module.dropout.p = 0.5
    other_rate = fingerprint(module)
    with torch.no_grad():
        module.layer.weight += 1
    assert len({before, other_rate, fingerprint(module)}) == 3


def test_the_fit_of_a_frozen_estimator_counts():
    X, y = np.eye(4), [0, 1, 0, 1]
    first = FrozenEstimator(LogisticRegression().fit(X, y))
    second = FrozenEstimator(LogisticRegression().fit(X, y[::-1]))
    assert fingerprint(first) == fingerprint(copy.deepcopy(first))
    assert fingerprint(first) != fingerprint(second)


@pytest.mark.slow
def test_is_the_same_in_every_process():
    code = (
        "from sam_attribution.training import SAMClassifier\n"
        "from sam_attribution._fingerprint import fingerprint\n"
        "print(fingerprint(SAMClassifier(), lambda x: x in {'a', 'b', 'c'}))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()
    assert elsewhere == fingerprint(SAMClassifier(), lambda x: x in {"a", "b", "c"})


def chain(length):
    """A class with so many bases above it, whose methods all call the next one's."""
    cls = type("Base", (), {"value": lambda self: 0})
    for _ in range(length):

        class Next(cls):
            def value(self):
                return 1 + super().value()

            def again(self):
                return 1 + super().value()

        cls = Next
    return cls


def n_parts(description):
    """Number of plain values in a description."""
    if isinstance(description, dict):
        return sum(map(n_parts, description.values()))
    return sum(map(n_parts, description)) if isinstance(description, list | tuple) else 1


def test_a_class_is_described_once_however_often_its_methods_name_it():
    sizes = [n_parts(_described(chain(length), _Above())) for length in (3, 6, 12)]
    # a list of its bases for each, so a square; were each told anew, twice as much for every level
    assert sizes[2] < 4 * sizes[1] < 16 * sizes[0]
    assert fingerprint(chain(8)) == fingerprint(chain(8)) != fingerprint(chain(9))
