import numpy as np

from sam_attribution.filtering._cache import Store


def test_the_oldest_scores_go_first():
    store = Store(max_bytes=3 * 80)
    for key in "abc":
        store.put(key, np.zeros(10))
    store.get("a")
    store.put("d", np.zeros(10))
    assert [key for key in "abcd" if store.get(key) is None] == ["b"]


def test_the_newest_scores_stay_however_large():
    store = Store(max_bytes=1)
    store.put("a", np.zeros(10))
    store.put("b", np.zeros(10))
    assert store.get("a") is None
    assert store.get("b") is not None
