"""Noise functions that make labels wrong in known ways, to test with."""

from sam_attribution.datasets._label_noise import (
    instance_dependent_noise,
    pair_noise,
    symmetric_noise,
)

__all__ = ["instance_dependent_noise", "pair_noise", "symmetric_noise"]
