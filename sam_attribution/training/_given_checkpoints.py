"""Checkpoints of a training elsewhere, as the user gives them to ``from_module``."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from sam_attribution.training._saved_weights import weights_in


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights of a network during a training elsewhere, and the weight of its steps in scores.

    Pass checkpoints to ``from_module`` in the order of training.

    Parameters
    ----------
    state : dict of str to Tensor, or path
        State dict, copied to the CPU, or a file that is read when it is needed. A name that ends in
        ``.safetensors`` is read as safetensors, any other by ``torch.load(weights_only=True)``. The
        weights may be under the key ``"state_dict"`` (Lightning), ``"model_state_dict"`` or
        ``"model"``.
    rate : float
        Sum of the learning rates of the steps that this checkpoint represents. 0 for weights that
        represent no step, such as those before training: only ``MislabelDetector`` uses them.
    rows : array-like of int, optional
        Positions, in the rows given to ``from_module``, of the batch whose gradient gave SAM's
        perturbation; with ``m_sharpness`` in the order of the batch. None takes the gradient of all
        rows.
    rho : float, optional
        Radius of the perturbation at this checkpoint. None takes the `rho` of ``from_module``.

    Notes
    -----
    Use the state in the middle of the steps that it represents. Scores are then those of
    :class:`~sam_attribution.methods.GIF` for a recorded training.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.training import Checkpoint
    >>> Checkpoint(torch.nn.Linear(4, 3).state_dict(), rate=0.1 * 32)
    Checkpoint(2 tensors, rate=3.2)
    >>> Checkpoint("epoch_5.safetensors", rate=3.2, rows=[4, 17, 8])
    Checkpoint('epoch_5.safetensors', rate=3.2, 3 rows)
    """

    state: dict | str
    rate: float
    rows: np.ndarray | None = None
    rho: float | None = None

    def __init__(self, state, *, rate, rows=None, rho=None):
        fields = {
            "state": _checked_state(state),
            "rate": _checked_number(rate, "rate"),
            "rows": None if rows is None else _checked_rows(rows),
            "rho": None if rho is None else _checked_number(rho, "rho"),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_stamp", _stamp(self.state))

    def __repr__(self):
        state = self.state
        parts = [repr(state) if isinstance(state, str) else f"{len(state)} tensors"]
        parts.append(f"rate={self.rate:g}")
        parts += [] if self.rows is None else [f"{len(self.rows)} rows"]
        parts += [] if self.rho is None else [f"rho={self.rho:g}"]
        return f"Checkpoint({', '.join(parts)})"


def checked_checkpoints(checkpoints, n_samples):
    """The checkpoints as a tuple; raise unless they are some, with rows among `n_samples`."""
    if checkpoints is None:
        return ()
    if isinstance(checkpoints, str | Mapping) or not isinstance(checkpoints, Iterable):
        raise TypeError(f"checkpoints must be a list of Checkpoint, got {checkpoints!r:.80}.")
    checkpoints = tuple(checkpoints)
    for number, each in enumerate(checkpoints):
        if not isinstance(each, Checkpoint):
            raise TypeError(
                f"checkpoints[{number}] must be a Checkpoint(state_dict or path, rate=...), got "
                f"{type(each).__name__}."
            )
        if each.rows is not None and each.rows.max() >= n_samples:
            raise ValueError(
                f"checkpoints[{number}] has row {each.rows.max()}, but X has {n_samples} rows. "
                "Pass positions in X."
            )
    if checkpoints and not any(each.rate for each in checkpoints):
        raise ValueError(
            "checkpoints all have rate=0: none stands for a step of training. Give the sum of the "
            "learning rates of the steps that each stands for."
        )
    return checkpoints


def _checked_state(state):
    if isinstance(state, str | os.PathLike):
        return os.fspath(state)
    found = weights_in(state, "state of a Checkpoint") if isinstance(state, Mapping) else {}
    if not found:
        raise TypeError(
            "state of a Checkpoint must be module.state_dict() or the path of a file, got "
            f"{_kind(state)}."
        )
    if empty := [name for name, value in found.items() if value.is_meta]:
        raise ValueError(
            f"state of a Checkpoint has no values of {empty[0]!r}, which is on the meta device. "
            "Load the weights before you pass them."
        )
    # state_dict() shares the memory of the weights, which training goes on to change
    return {name: value.detach().to("cpu", copy=True) for name, value in found.items()}


def _kind(state):
    """Type of what is no state dict, and of a dict what it holds instead of tensors."""
    kind = type(state).__name__
    if not isinstance(state, Mapping) or not state:
        return kind
    held = ", ".join(f"{type(v).__name__} under {key!r}" for key, v in [*state.items()][:3])
    return f"a {kind} without tensors, which has {held}"


def _stamp(state):
    """Size and time of a file, which tell caches of scores that another was put in its place."""
    if not isinstance(state, str) or not os.path.isfile(state):
        return None
    found = os.stat(state)
    return found.st_size, found.st_mtime_ns


def _checked_number(value, name):
    ok = isinstance(value, Real) and not isinstance(value, bool)
    if not ok or not 0 <= value < math.inf:
        raise ValueError(f"{name} of a Checkpoint must be a number of 0 or more, got {value!r}.")
    return float(value)


def _checked_rows(rows):
    found = np.asarray(rows)
    if found.ndim != 1 or found.size == 0 or found.dtype.kind not in "iu":
        raise ValueError(
            "rows of a Checkpoint must be positions of the rows of one batch, a list of integers, "
            f"got {found.dtype} of shape {found.shape}."
        )
    if found.min() < 0 or len(np.unique(found)) < len(found):
        raise ValueError("rows of a Checkpoint must be positions from 0 on, each of them once.")
    return found.astype(np.int64)
