"""States of a recorded training from the last to the first, few of them in memory at once."""

from math import isqrt


def rewind(replay):
    """Yield every state of a replay, the last one first.

    For T steps at most ``2 sqrt(T)`` states, rounded up, are in memory beside those that the
    training kept (two more if it kept none on the way). This includes the two states of a caller
    that reads them in pairs. All states between two kept ones are in memory if the bound allows
    it; every step is then repeated once. Otherwise every s-th state is, s as small as the bound
    allows, and the ``s - 1`` states in between are computed a second time when they are needed.
    Where every state was kept no step is repeated.
    """
    n_steps = replay.n_steps
    limit = max(isqrt(4 * n_steps) - 2, 1)  # the caller holds two
    kept = replay.kept_steps
    if len(kept) <= n_steps:  # steps are repeated
        kept = kept - {n_steps}  # reach it by replay, which tests the replay
    last = n_steps
    for first in sorted(kept, reverse=True):
        yield from _descend(replay, first, last, limit)
        last = first - 1


def _descend(replay, first, last, limit):
    """States from `last` down to `first`, which the training kept."""
    stride = _stride(last - first + 1, limit)
    anchors = [s for s in replay.states(first, last) if (s.step - first) % stride == 0]
    if stride == 1:
        yield from _emptying(anchors)
        return
    for anchor in _emptying(anchors):
        end = min(anchor.step + stride - 1, last)
        yield from _emptying([anchor, *replay.states(anchor.step + 1, end, anchor)])


def _stride(n_states, limit):
    """Smallest distance between anchors at which they and the states between two fit the limit."""
    if n_states <= limit:
        return 1
    strides = range(2, n_states + 1)
    return min(strides, key=lambda s: (max(limit, (n_states - 1) // s + s), s))


def _emptying(states):
    while states:
        yield states.pop()
