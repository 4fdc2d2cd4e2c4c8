"""Probes that are made again at each reading, for there are too many to keep."""


class Replayable:
    """An iterable with a length whose items are made again each time it is read.

    The probes of every training step would fill memory, so they are computed anew where
    scores are asked for a second time.

    Parameters
    ----------
    make : callable
        Takes nothing and returns an iterable of the items, the same ones at each call.
    length : int
        Number of items.

    Examples
    --------
    >>> from sam_attribution.probes import Replayable
    >>> squares = Replayable(lambda: (n * n for n in range(3)), 3)
    >>> len(squares), list(squares), list(squares)
    (3, [0, 1, 4], [0, 1, 4])
    """

    def __init__(self, make, length):
        self._make = make
        self._length = length

    def __len__(self):
        return self._length

    def __iter__(self):
        return iter(self._make())
