"""Seconds and peak memory of a stretch of work."""

import time
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Measure:
    """Seconds and peak memory since it was made.

    Parameters
    ----------
    device : str or None
        On CUDA, memory is that of torch's allocator there. On Linux it is that of the process,
        whose high-water mark is set back at the start: a measure that is made within another one
        hides the peak before it.
    """

    def __init__(self, device):
        self._device = torch.device("cpu" if device is None else device)
        self._memory_before = self._start_of_memory()
        self._start = self._now()

    def lap(self):
        """Seconds since the last lap."""
        now = self._now()
        elapsed, self._start = now - self._start, now
        return elapsed

    def peak_memory_mib(self):
        """Peak above the memory at the start, in MiB; NaN where the system does not tell."""
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
        elif self._memory_before is None:
            return float("nan")
        else:
            peak = _memory_of_process("VmHWM")
        return max(0, peak - self._memory_before) / 2**20

    def _start_of_memory(self):
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device)
        return _memory_of_process("VmRSS") if _reset_peak_of_process() else None

    def _now(self):
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # queued work belongs to this lap
        return time.perf_counter()


def _reset_peak_of_process():
    """Set the high-water mark back to the present use; False if the system does not allow it."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _memory_of_process(name):
    """Bytes of an entry of the process's status."""
    lines = _STATUS.read_text().splitlines()
    return 2**10 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
