"""Queries about single tokens of rows: all other targets are ignored."""

import numpy as np

from sam_attribution.training import ignored_target


class TokenQueries:
    """A query for every token of some rows that has a target.

    Parameters
    ----------
    criterion : torch.nn.Module
        Of a net; one that leaves out a target, such as ``CrossEntropyLoss``.
    y : ndarray of int, shape (n_query, ...)

    Attributes
    ----------
    rows : ndarray of int
        The row of each query.
    y : ndarray of shape (n_queries, ...)
        Targets of that row, but for one token ignored.
    """

    def __init__(self, criterion, y):
        ignored = ignored_target(criterion)
        if ignored is None or y.ndim < 2 or y.dtype.kind != "i":
            raise ValueError(
                'per="token" needs a class for every token, y of shape (n_query, n_tokens), and '
                f"CrossEntropyLoss or NLLLoss, got y of shape {y.shape} in {y.dtype}. Use per=None."
            )
        if not (y != ignored).any():
            raise ValueError(
                f'per="token" needs a token with a target, but y_query holds {ignored} alone, '
                "which the criterion ignores."
            )
        self._shape, self._places = y.shape, np.nonzero(y != ignored)
        self.rows = self._places[0]
        self.y = np.full((len(self.rows), *y.shape[1:]), ignored)
        self.y[(np.arange(len(self.rows)), *self._places[1:])] = y[self._places]

    def arranged(self, scores):
        """Scores of the queries by row and token, (n_query, ..., n_samples), NaN where ignored."""
        table = np.full((*self._shape, scores.shape[1]), np.nan)
        table[self._places] = scores
        return table
