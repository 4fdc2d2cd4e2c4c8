"""The most memory that a stretch of work had at once, above what was there before."""

from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class MemoryPeak:
    """Context whose ``mib`` is the peak above the start, in MiB; NaN where the system is silent.

    On a GPU that of torch's allocator. On Linux that of the process, whose high-water mark is
    set back for it.
    """

    mib = float("nan")

    def __init__(self, device):
        self._device = torch.device("cpu" if device is None else device)

    def __enter__(self):
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._before = _kib("VmRSS") if _reset() else None
        return self

    def __exit__(self, *raised):
        if self._device.type == "cuda":
            self.mib = (torch.cuda.max_memory_allocated(self._device) - self._before) / 2**20
        elif self._before is not None:
            self.mib = max(0, _kib("VmHWM") - self._before) / 2**10


def _reset():
    """Set the high-water mark back to what is used now; False if the system does not let us."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _kib(name):
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
