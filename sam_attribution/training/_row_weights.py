"""Weights of rows in a repeated training, on top of the user's sample weights."""

import torch


class RowWeights:
    """Weights of all rows, 0 for one that is left out; a batch's denominator stays as it is.

    `values` has shape (n_samples,). A batch in which all weights are 1 is computed as in the
    recorded training, to the bit.
    """

    def __init__(self, values):
        self._values = values
        self._batch = None
        self.unread = False

    def turn_to(self, rows):
        """Take the weights of the rows of the coming batch."""
        self._take(self._values[rows])

    def of_part(self, rows):
        """Weights of a part of the batch, whose losses are computed apart."""
        part = RowWeights(self._values)
        part._take(torch.ones(0) if self._batch is None else self._batch[rows])
        self.unread = False
        return part

    def _take(self, batch):
        self._batch = None if bool((batch == 1).all()) else batch
        self.unread = self.acting

    @property
    def acting(self):
        """True if some row of the batch has another weight than 1."""
        return self._batch is not None

    def times(self, losses):
        """The losses of the batch's rows, each multiplied by its weight."""
        self.unread = False
        return self._batch.to(losses) * losses
