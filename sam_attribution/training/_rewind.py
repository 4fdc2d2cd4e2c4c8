"""The states of a recorded training from the last to the first, few of them in memory at once."""

from math import isqrt


def rewind(replay):
    """Yield every state, the last one first.

    Parameters
    ----------
    replay : Replay

    Yields
    ------
    State

    Notes
    -----
    For T steps at most ``2 sqrt(T)`` states, rounded up, are held beside those that the training
    kept (two more if it kept none on the way). The two of a caller who goes through them in pairs
    are among them. Between two kept states all
    others are held if that is within the bound: every step is repeated once. Otherwise only each
    s-th is, s as small as the bound allows, and the ``s - 1`` states between are repeated once
    more when their turn comes. Where every state was kept nothing is repeated.
    """
    n_steps = replay.n_steps
    limit = max(isqrt(4 * n_steps) - 2, 1)  # the caller holds two
    kept = replay.kept_steps
    if n_steps - 1 not in kept:
        kept = kept - {n_steps}  # arrive there by replay, which is so put to the test
    last = n_steps
    for first in sorted(kept, reverse=True):
        yield from _descend(replay, first, last, limit)
        last = first - 1


def _descend(replay, first, last, limit):
    """States from `last` to `first`, of which the latter is kept."""
    stride = _stride(last - first + 1, limit)
    anchors = [s for s in replay.states(first, last) if (s.step - first) % stride == 0]
    if stride == 1:
        yield from _emptying(anchors)
        return
    for anchor in _emptying(anchors):
        end = min(anchor.step + stride - 1, last)
        yield from _emptying([anchor, *replay.states(anchor.step + 1, end, anchor)])


def _stride(n_states, limit):
    """Smallest distance of anchors with which they and the states between two fit the limit."""
    if n_states <= limit:
        return 1
    strides = range(2, n_states + 1)
    return min(strides, key=lambda s: (max(limit, (n_states - 1) // s + s), s))


def _emptying(states):
    while states:
        yield states.pop()
