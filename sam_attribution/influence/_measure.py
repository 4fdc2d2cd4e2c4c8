"""Seconds and peak memory of a stretch of work."""

import sys
import time

import torch

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


class Stopwatch:
    """Seconds since it was made, and the process's memory peak.

    Parameters
    ----------
    device : str or None
        For CUDA the peak is that of the device's allocator.
    """

    def __init__(self, device):
        self._device = torch.device("cpu" if device is None else device)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._start = self._now()

    def lap(self):
        """Seconds since the last lap."""
        now = self._now()
        elapsed, self._start = now - self._start, now
        return elapsed

    def _now(self):
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # queued work belongs to this lap
        return time.perf_counter()

    def peak_memory_mib(self):
        """High-water mark in MiB; NaN where the system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        if resource is None:
            return float("nan")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
