"""Aggregation of validation rows to one score per training row."""

import torch


class MeanAggregation:
    """The mean over the validation rows: keeps the unit."""

    normalize = False

    def groups(self, y):
        """All validation rows as one query."""
        return (torch.arange(len(y), device=y.device),)

    def fit(self, scores):
        """Learn nothing."""
        return self

    def reduce(self, table):
        """Drop the query axis, which has one entry."""
        return table[..., 0]


class WorstClassAggregation:
    """The minimum over validation classes, each brought to one scale: a ranking.

    One direction per class, divided by its norm; the column of each class divided by its
    standard deviation over the training rows, not centred.
    """

    normalize = True

    def groups(self, y):
        """The validation rows of each class as one query."""
        return tuple((y == label).nonzero()[:, 0] for label in y.unique())

    def fit(self, scores):
        """Learn the spread of each class over training rows, from scores (n_samples, k)."""
        spread = scores.std(0, correction=0)
        self.spread_ = torch.where(spread == 0, 1.0, spread)
        return self

    def reduce(self, table):
        """Minimum over the last axis in units of the spread that was learned."""
        return (table / self.spread_).amin(-1)


AGGREGATIONS = {"mean": MeanAggregation, "worst-class": WorstClassAggregation}
