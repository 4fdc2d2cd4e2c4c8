"""Probes that are made again at each reading, for there are too many to keep."""


class Replayable:
    """An iterable with a length whose items `make` makes again each time it is read.

    The probes of every training step would fill memory, so they are computed anew where
    scores are asked for a second time.
    """

    def __init__(self, make, length):
        self._make = make
        self._length = length

    def __len__(self):
        return self._length

    def __repr__(self):
        return f"Replayable({self._length} probes)"

    def __iter__(self):
        return iter(self._make())
