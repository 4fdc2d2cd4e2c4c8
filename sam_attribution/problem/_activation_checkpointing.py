"""Activation checkpointing switched off for a while, so that a backward pass recomputes nothing.

``torch.utils.checkpoint`` calls parts of a module again in the backward pass. A functional call has
put the module's own weights back by then, so that the gradient would be one at other weights.
"""

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from threading import Lock
from typing import Any

from torch.utils import checkpoint

_KEEPING = ContextVar("keeping activations", default=False)
_LOCK = Lock()
_N_USERS = 0
_ORIGINALS: dict[str, Any] = {}


@contextmanager
def keeping_activations():
    """Context in which checkpointed parts keep their activations, in this thread alone.

    Outputs stay the same bits; memory is that of a module without checkpointing. The forward pass
    decides: its backward pass may come later, and in threads of autograd, which know of no context.
    """
    _replace_hooks()
    token = _KEEPING.set(True)
    try:
        yield
    finally:
        _KEEPING.reset(token)
        _put_hooks_back()


class _KeepingFunction:
    """The reentrant kind: an autograd function whose backward pass calls `function` again."""

    @staticmethod
    def apply(function, preserve_rng_state, *args):
        if _KEEPING.get():
            return function(*args)
        return _ORIGINALS["CheckpointFunction"].apply(function, preserve_rng_state, *args)


def _keeping_hook(frame):
    """The other kind: hooks on saved tensors, which compute these again when they are read."""
    return nullcontext() if _KEEPING.get() else _ORIGINALS["_checkpoint_hook"](frame)


_OURS = {"CheckpointFunction": _KeepingFunction, "_checkpoint_hook": _keeping_hook}


def _replace_hooks():
    global _N_USERS
    with _LOCK:
        _N_USERS += 1
        if _N_USERS == 1:
            # a torch without these names: a check of the module's gradient refuses it
            known = {name for name in _OURS if hasattr(checkpoint, name)}
            _ORIGINALS.update({name: getattr(checkpoint, name) for name in known})
            for name in known:
                setattr(checkpoint, name, _OURS[name])


def _put_hooks_back():
    global _N_USERS
    with _LOCK:
        _N_USERS -= 1
        if _N_USERS == 0:
            for name, original in _ORIGINALS.items():
                setattr(checkpoint, name, original)
