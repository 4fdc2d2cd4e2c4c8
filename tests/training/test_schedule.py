from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, RandomSampler, Subset

from sam_attribution.training import SAMClassifier, batch_schedule

X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
y = np.arange(50) % 2


@given(n=st.integers(1, 90), size=st.integers(1, 100), epoch=st.integers(0, 5))
def test_an_epoch_has_every_row_once_in_batches_of_like_size(n, size, epoch):
    batches = batch_schedule(n, size, epoch, seed=3)
    assert sorted(np.concatenate(batches)) == list(range(n))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    def order(epoch, seed):
        return np.concatenate(batch_schedule(50, 8, epoch, seed)).tolist()

    assert order(2, 7) == order(2, 7)
    assert order(2, 7) != order(3, 7)
    assert order(2, 7) != order(2, 8)


def test_drop_last_has_full_batches_only():
    assert [len(b) for b in batch_schedule(50, 8, 0, 0, drop_last=True)] == [8] * 6


def test_all_rows_in_one_batch():
    assert [len(b) for b in batch_schedule(50, -1, 0, 0)] == [50]


def indices_of(**params):
    clf = SAMClassifier(max_epochs=2, batch_size=20, random_state=0, **params).fit(X, y)
    return [step.indices.tolist() for step in clf.trajectory_.schedule]


def test_training_follows_the_schedule():
    clf = SAMClassifier(max_epochs=2, batch_size=20, random_state=0).fit(X, y)
    seed = clf.trajectory_.seed
    expected = [b.tolist() for epoch in (0, 1) for b in batch_schedule(50, 20, epoch, seed)]
    assert [step.indices.tolist() for step in clf.trajectory_.schedule] == expected


def test_without_shuffling_rows_come_in_order():
    rows = indices_of(iterator_train__shuffle=False)
    assert list(chain(*rows[:3])) == list(range(50))


def test_drop_last_is_honoured():
    assert [len(rows) for rows in indices_of(iterator_train__drop_last=True)] == [20] * 4


def test_workers_and_own_loaders_tell_their_rows():
    class Loader(DataLoader):
        pass

    expected = indices_of()
    assert indices_of(iterator_train=Loader) == expected
    assert indices_of(iterator_train__num_workers=1) == expected


def test_the_rows_of_a_users_sampler_are_recorded():
    sampler = RandomSampler(range(50), replacement=True, num_samples=40)
    rows = indices_of(iterator_train__sampler=sampler, iterator_train__shuffle=False)
    assert [len(r) for r in rows] == [20] * 4
    assert len(set(chain(*rows))) < 50


def test_a_validation_split_records_rows_of_the_data_given():
    def last_thirty(dataset, y):
        return Subset(dataset, range(20, 50)), Subset(dataset, range(20))

    assert set(chain(*indices_of(train_split=last_thirty))) == set(range(20, 50))


def test_a_loader_that_hides_its_rows_breaks_the_trajectory():
    def bare(dataset, batch_size, **kwargs):
        return [(X[:10], y[:10]), (X[10:20], y[10:20])]

    clf = SAMClassifier(max_epochs=1, iterator_train=bare).fit(X, y)
    with pytest.raises(ValueError, match="iterator_train does not give the row numbers"):
        clf.replay(X, y)
    with pytest.raises(ValueError, match="sample_weight needs the row numbers"):
        clf.fit(X, y, sample_weight=np.ones(50))
