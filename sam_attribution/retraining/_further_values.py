"""Query values of further training by epoch, seed, query and row or group left out."""

from dataclasses import dataclass

import numpy as np

from sam_attribution._summary import summary, summary_html


@dataclass(frozen=True, eq=False)
class FurtherTrainingValues:
    """Query values after further training, with all rows and without some.

    Attributes
    ----------
    amounts : ndarray of shape (n_amounts,)
        Epochs or steps of further training.
    rows : ndarray of shape (n_rows,)
        Positions of the rows left out, those of one group after those of another.
    values : ndarray of shape (n_amounts, n_seeds, n_query, n_left_out)
        ``V_q(w_k(t, r)) - V_q(w_T)``: rise of the query's loss above that of the given model by
        training without row k, or without group k as a whole.
    full : ndarray of shape (n_amounts, n_seeds, n_query)
        The same with all rows, ``V_q(w_D(t, r)) - V_q(w_T)``.
    unit : {"epochs", "steps"}
        Unit of `amounts`.
    groups : list of ndarray or None
        Positions of the rows of each group; None where single rows were left out.

    References
    ----------
    Wei et al., Final-Model-Only Data Attribution, arXiv:2412.03906, equations 3, 13 and 17.
    """

    amounts: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    full: np.ndarray
    unit: str = "epochs"
    groups: list[np.ndarray] | None = None

    __repr__ = summary
    _repr_html_ = summary_html

    @property
    def n_seeds(self):
        """Number of repetitions, each with batches and masks of its own."""
        return self.values.shape[1]

    def adjusted(self, adjustment="full-data"):
        """Values without the effect of further training itself, for each seed.

        Parameters
        ----------
        adjustment : {"full-data", "mean"}, default="full-data"
            ``full-data`` subtracts the value of the model that was trained with all rows in the
            same batches (eq. 17); ``mean`` the mean over the rows or groups left out
            (eq. 13).

        Returns
        -------
        ndarray of shape (n_amounts, n_seeds, n_query, n_left_out)
            Positive = the row, or group, helps the query.

        Raises
        ------
        ValueError
            For another name.
        """
        common = {
            "full-data": self.full[..., np.newaxis],
            "mean": self.values.mean(-1, keepdims=True),
        }
        if adjustment not in common:
            raise ValueError(f"adjustment must be one of {sorted(common)}, got {adjustment!r}.")
        return self.values - common[adjustment]

    def curves(self, adjustment="full-data"):
        """Adjusted values, mean over seeds, shape (n_amounts, n_query, n_left_out)."""
        return self.adjusted(adjustment).mean(1)

    def standard_errors(self, adjustment="full-data"):
        """Standard errors of :meth:`curves` over seeds, the same shape; NaN for one seed."""
        adjusted = self.adjusted(adjustment)
        if self.n_seeds == 1:
            return np.full_like(adjusted[:, 0], np.nan)
        return adjusted.std(1, ddof=1) / np.sqrt(self.n_seeds)
