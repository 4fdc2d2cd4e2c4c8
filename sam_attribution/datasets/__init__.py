"""Label noise of known kinds, to test on."""

from sam_attribution.datasets._class_noise import pair_noise, symmetric_noise
from sam_attribution.datasets._instance_noise import instance_dependent_noise

__all__ = ["instance_dependent_noise", "pair_noise", "symmetric_noise"]
