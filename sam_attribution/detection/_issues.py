"""The table of all labels, those that are most likely wrong first."""

import numpy as np
import pandas as pd

from sam_attribution._summary import WIDTH
from sam_attribution._tables import ShownTable, probability

_FEW_COLUMNS = 8


class IssueTable(ShownTable):
    """DataFrame that shows its numbers with three decimals, and a row on a line.

    Names of classes may be long: no column of a few is left out of the line. Parts of the table,
    such as ``head()``, do the same. The numbers themselves are exact.
    """

    _formats = staticmethod("{:.3f}".format)
    _formatters = {"probability_wrong": probability}

    @property
    def _line_width(self):
        return None if self.shape[1] <= _FEW_COLUMNS else WIDTH


def issue_table(given, suggested, probability_wrong, scores, suspicious, index=None):
    """Return an :class:`IssueTable` of all rows, worst first; rows without a score come last.

    Parameters
    ----------
    given, suggested : array-like of shape (n_samples,)
        Labels.
    probability_wrong, scores : ndarray of shape (n_samples,)
        NaN for rows that were not judged.
    suspicious : ndarray of bool, shape (n_samples,)
    index : Index, optional
        Names of the rows, by default their positions.

    Returns
    -------
    IssueTable
        With the columns given_label, suggested_label, probability_wrong, score, is_suspicious.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.detection._issues import issue_table
    >>> p, scores, is_suspicious = (
    ...     np.array([0.01, 0.97]),
    ...     np.array([4.5, -3.2]),
    ...     [False, True],
    ... )
    >>> issue_table(["cat", "dog"], ["cat", "cat"], p, scores, is_suspicious)
      given_label suggested_label probability_wrong  score  is_suspicious
    1         dog             cat             0.970 -3.200           True
    0         cat             cat             0.010  4.500          False
    """
    columns = {
        "given_label": given,
        "suggested_label": suggested,
        "probability_wrong": probability_wrong,
        "score": scores,
        "is_suspicious": suspicious,
    }
    worst_first = np.argsort(scores, kind="stable")  # NaN sorts last
    return IssueTable(pd.DataFrame(columns, index).iloc[worst_first])
