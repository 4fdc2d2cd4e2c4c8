from sam_attribution.probes import Replayable


def test_items_are_made_again_at_each_reading_and_never_before():
    readings = []

    def make():
        readings.append(len(readings))
        yield from "ab"

    items = Replayable(make, 2)
    assert len(items) == 2
    assert readings == []
    assert list(items) == list(items) == ["a", "b"]
    assert readings == [0, 1]
    assert list(zip(items, items, strict=True)) == [("a", "a"), ("b", "b")]  # each its own
