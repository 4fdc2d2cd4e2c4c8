"""One thread of a process computes at a time, in torch's usual modes.

Trainings and questions to a model use what all threads share: the random streams of numpy and
torch, torch's level of forward-mode differentiation and choice of kernels, and modules whose
parameters are exchanged for a while. So threads wait for each other.
"""

import os
from contextlib import contextmanager, nullcontext
from threading import RLock, get_ident

import torch


class _Turn:
    """The lock and what its holder did with it; only the holder changes it."""

    def __init__(self):
        self.lock = RLock()
        self.owner = None
        self.depth = self.pins = 0

    @property
    def is_mine(self):
        return self.owner == get_ident()


_turn = _Turn()


def _renew():
    """Give a forked process a lock of its own: the thread that held this one is not there."""
    global _turn
    _turn = _Turn()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_renew)


@contextmanager
def exclusive(*, pinned=False):
    """Context, or decorator, of computations that no other thread may disturb; re-entrant.

    Modes of torch that the caller has set hold again after it. With `pinned` it is kept until its
    end: :func:`released` does not let others in, since the random streams are in use.
    """
    turn = _turn
    with turn.lock, nullcontext() if turn.depth else usual_modes():
        turn.owner, turn.depth, turn.pins = get_ident(), turn.depth + 1, turn.pins + pinned
        try:
            yield
        finally:
            turn.depth, turn.pins = turn.depth - 1, turn.pins - pinned
            turn.owner = get_ident() if turn.depth else None


def is_pinned():
    """True if this thread must not let others compute now."""
    return _turn.is_mine and _turn.pins > 0


@contextmanager
def released():
    """Context in which other threads may compute; for waiting for them inside `exclusive`."""
    turn = _turn
    depth = turn.depth if turn.is_mine and not turn.pins else 0
    if depth:
        turn.owner, turn.depth = None, 0
    for _ in range(depth):
        turn.lock.release()
    try:
        yield
    finally:
        _take_back(turn, depth)


def _take_back(turn, depth):
    """Wait for the lock, through Ctrl-C, which is raised afterwards: levels must be complete."""
    interrupt, levels = None, 0
    while levels < depth:
        try:
            turn.lock.acquire()
            levels += 1
        except KeyboardInterrupt as error:
            interrupt = error
    if depth:
        turn.owner, turn.depth = get_ident(), depth
    if interrupt is not None:
        raise interrupt


@contextmanager
def usual_modes():
    """Context, or decorator, with gradients on and tensors made on the CPU, as torch begins.

    A caller may be inside ``torch.no_grad()``, ``torch.inference_mode()`` or another default
    device; these are modes of its thread.
    """
    elsewhere = torch.empty(0).device.type != "cpu"
    with torch.inference_mode(False), torch.device("cpu") if elsewhere else nullcontext():
        yield


def each_in(context, iterable):
    """Yield the items of an iterable, each made in a `context()` that is left before it is used."""
    iterator = iter(iterable)
    while True:
        with context():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
