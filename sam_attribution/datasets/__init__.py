"""Label noise for tests: functions that change a known share of the labels."""

from sam_attribution.datasets._label_noise import (
    instance_dependent_noise,
    pair_noise,
    symmetric_noise,
)

__all__ = ["instance_dependent_noise", "pair_noise", "symmetric_noise"]
