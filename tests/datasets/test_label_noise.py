from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs

from sam_attribution.datasets import instance_dependent_noise, pair_noise, symmetric_noise

CLASS_NOISE = [symmetric_noise, pair_noise]
fractions = st.floats(0, 1)
seeds = st.integers(0, 2**31)
labels = st.lists(st.sampled_from(["ant", "bee", "centipede"]), min_size=2, max_size=40).filter(
    lambda y: len(set(y)) > 1
)


def assert_noisy(y, result, fraction):
    y_noisy, changed = result
    assert changed.dtype == bool
    assert changed.sum() == round(fraction * len(y))
    np.testing.assert_array_equal(y_noisy != y, changed)
    assert set(y_noisy) <= set(y)
    assert y_noisy.dtype == y.dtype


@pytest.mark.slow
@pytest.mark.parametrize("noise", CLASS_NOISE)
@given(y=labels, fraction=fractions, seed=seeds)
def test_exactly_the_fraction_gets_another_label(noise, y, fraction, seed):
    y = np.array(y)
    before = y.copy()
    assert_noisy(y, noise(y, fraction, random_state=seed), fraction)
    np.testing.assert_array_equal(y, before)


@pytest.mark.slow
@given(
    fraction=fractions,
    seed=seeds,
    n_classes=st.integers(2, 4),
    shape=st.sampled_from([(-1, 4), (-1, 1, 2, 2)]),
)
@settings(max_examples=25)
def test_instance_dependent_noise_changes_exactly_the_fraction(fraction, seed, n_classes, shape):
    X, y = make_blobs(30, 4, centers=n_classes, random_state=0)
    y = np.array(["p", "q", "r", "s"])[y]
    result = instance_dependent_noise(X.reshape(shape), y, fraction, random_state=seed)
    assert_noisy(y, result, fraction)


@given(y=labels, fraction=fractions, seed=seeds)
def test_a_pair_is_the_next_class(y, fraction, seed):
    following = dict(zip(sorted(set(y)), [*sorted(set(y))[1:], min(y)], strict=True))
    y_noisy, changed = pair_noise(y, fraction, random_state=seed)
    assert all(
        new == following[old] for old, new, flip in zip(y, y_noisy, changed, strict=True) if flip
    )


def test_symmetric_noise_is_spread_over_the_other_classes():
    y = np.repeat(np.arange(5), 2000)
    y_noisy, changed = symmetric_noise(y, 0.5, random_state=0)
    counts = np.zeros((5, 5))
    np.add.at(counts, (y[changed], y_noisy[changed]), 1)
    np.testing.assert_allclose(counts[~np.eye(5, dtype=bool)], 250, rtol=0.25)


def test_instance_dependent_noise_falls_between_near_classes():
    X, y = make_blobs(600, centers=[[0, 0], [2, 0], [1, 9]], random_state=0)
    y_noisy, changed = instance_dependent_noise(X, y, 0.2, random_state=0)
    near = y < 2
    assert changed[~near].mean() < 0.1 * changed[near].mean()
    assert np.mean(y_noisy[changed & near] == 1 - y[changed & near]) > 0.9
    inside = (X[:, 0] > 0) & (X[:, 0] < 2) & near
    assert changed[inside].mean() > 2 * changed[~inside & near].mean()


@pytest.mark.parametrize("noise", [*CLASS_NOISE, partial(instance_dependent_noise, np.eye(6))])
def test_a_seed_repeats_and_bad_input_names_the_argument(noise):
    y = [0, 1, 2, 0, 1, 2]
    first, second = (noise(y, 0.5, random_state=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for fraction in (-0.1, 1.1, float("nan"), "half"):
        with pytest.raises(ValueError, match="fraction must be a number from 0 to 1"):
            noise(y, fraction)
    with pytest.raises(ValueError, match="y must hold at least two classes"):
        noise([1] * 6, 0.5)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        noise([0, 1, 2, 0, 1, np.nan], 0.5)


def test_instance_dependent_noise_checks_its_inputs():
    y = [0, 1, 0, 1]
    with pytest.raises(ValueError, match="Input X contains NaN"):
        instance_dependent_noise([[0.0], [1.0], [np.nan], [3.0]], y, 0.5)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        instance_dependent_noise([[0.0], [1.0]], y, 0.5)
    with pytest.raises(ValueError, match="two rows of every class"):
        instance_dependent_noise([[0.0], [1.0], [2.0]], [0, 0, 1], 0.5)


CODES = np.arange(12) % 3
INDEX = [f"r{k}" for k in range(12)]
CONTAINERS = {
    "list": CODES.tolist(),
    "tuple": tuple("abc"[code] for code in CODES),
    "tensor": torch.tensor(CODES),
    "Series": pd.Series(CODES, index=INDEX, name="label"),
    "Int64": pd.Series(2**60 + CODES, index=INDEX, dtype="Int64"),
    "boolean": pd.Series(CODES == 1, index=INDEX, dtype="boolean"),
    "string": pd.Series(list("abc") * 4, index=INDEX, dtype="string"),
    "category": pd.Series(list("cab") * 4, index=INDEX, dtype="category"),
    "Categorical": pd.Categorical(list("cab") * 4),
    "nullable array": pd.array(2**60 + CODES, dtype="Int64"),
}


@pytest.mark.parametrize("y", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize(
    "noise", [*CLASS_NOISE, partial(instance_dependent_noise, np.eye(12))], ids=["sym", "pair", "X"]
)
def test_labels_come_back_as_they_were_given(noise, y):
    before = list(y)
    noisy, changed = noise(y, 0.5, random_state=0)
    assert type(noisy) is type(y)
    assert getattr(noisy, "dtype", None) == getattr(y, "dtype", None)
    assert [bool(a != b) for a, b in zip(noisy, before, strict=True)] == changed.tolist()
    assert changed.sum() == 6
    assert set(map(str, noisy)) <= set(map(str, before))
    assert list(y) == before
    if isinstance(y, pd.Series):
        assert noisy.index.equals(y.index)
        assert noisy.name == y.name


def test_the_same_rows_change_whatever_holds_the_labels():
    expected, _ = symmetric_noise(CODES, 0.5, random_state=0)
    for y in (CONTAINERS["list"], CONTAINERS["tensor"], CONTAINERS["Series"], CODES[:, None]):
        noisy, _ = symmetric_noise(y, 0.5, random_state=0)
        assert list(noisy) == expected.tolist()
    frame = pd.DataFrame({"label": CODES}, index=INDEX)
    noisy, _ = symmetric_noise(frame, 0.5, random_state=0)
    pd.testing.assert_series_equal(noisy, pd.Series(expected, INDEX, name="label"))
