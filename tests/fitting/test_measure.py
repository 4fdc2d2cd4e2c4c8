"""Peak memory above the start, and time in laps."""

import numpy as np
import pytest
import torch

from sam_attribution.fitting import Measure


@pytest.mark.slow
def test_the_peak_is_above_the_start_whatever_was_before():
    torch.ones(2**27).sum()  # 512 MiB, given back
    measure = Measure(None)
    torch.ones(2**25).sum()  # 128 MiB
    peak = measure.peak_memory_mib()
    assert np.isnan(peak) or 120 <= peak <= 200


def test_a_lap_begins_where_the_last_one_ended(monkeypatch):
    now = iter([1.0, 3.0, 7.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    measure = Measure(None)
    assert (measure.lap(), measure.lap()) == (2.0, 4.0)
