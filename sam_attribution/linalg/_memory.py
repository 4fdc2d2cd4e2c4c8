"""Memory that is free, compared with what a matrix takes before it is made."""

import os
from pathlib import Path

import torch

_GIB = 2**30


def check_memory(n_bytes: float, device: torch.device, what: str, instead: str) -> None:
    """Raise a ValueError if `n_bytes` are more than what is free; silent where that is unknown."""
    if not fits_into_memory(n_bytes, device):
        free = free_memory(device) or 0.0
        raise ValueError(
            f"{what} would take {n_bytes / _GIB:.3g} GiB, and {free / _GIB:.3g} GiB are free. "
            f"{instead}"
        )


def fits_into_memory(n_bytes: float, device: torch.device) -> bool:
    """True if `n_bytes` are not more than what is free, or that is unknown."""
    free = free_memory(device)
    return free is None or n_bytes <= free


def free_memory(device: torch.device) -> float | None:
    """Bytes free on a device, None if the system does not tell."""
    if device.type == "cuda":
        # torch keeps what it frees: the driver counts that as taken
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + unused)
    if device.type != "cpu":
        return None
    known = [size for size in (_available(), _limit_of_container()) if size is not None]
    return min(known, default=None)


def _available() -> float | None:
    """Bytes that Linux calls available, else the memory of the machine."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return 1024.0 * int(kib)
    except (OSError, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _limit_of_container() -> float | None:
    try:
        return float(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # there is none, or it is "max"
        return None
