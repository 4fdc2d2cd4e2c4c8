"""The review page of rows that were judged."""

import pandas as pd

from sam_attribution._as_arrays import refuse_odd_tensor
from sam_attribution._row_order import check_order
from sam_attribution.review import review_page


class WritesReport:
    """Mixin: ``report`` writes what ``_on_page`` returns.

    ``_on_page()`` returns the index of the rows, or None, and a dict of arguments of
    :func:`~sam_attribution.review.review_page`.
    """

    def report(
        self,
        path,
        X,
        *,
        class_names=None,
        descriptions=None,
        ids=None,
        image_shape=None,
        columns=None,
        n_rows=None,
        decisions=None,
        title="Label review",
    ):
        """Write a review page as one HTML file, with the most suspicious rows first.

        The page exports the reviewer's decisions as CSV, which
        :func:`~sam_attribution.review.apply_decisions` reads back. A suspicious row whose suggested
        label is its given one shows the most probable other label as the suggestion.

        Parameters
        ----------
        path : str or path-like
            Path of the HTML file.
        X : array-like or Dataset of n_samples rows
            The judged rows, in the order of ``fit``, or images, paths of images or texts that show
            them.
        class_names : list of str or dict, optional
            Names of the classes, in their sorted order or by label.
        descriptions : list of str, optional
            A line of text for each row.
        ids : array-like, optional
            Unique names of the rows, so that decisions can be applied to a table in another order.
            By default the index of `X`, or else of the judged rows.
        image_shape : tuple of int, optional
            Shape of an image whose pixels are a flat row of `X`.
        columns : list, optional
            Columns of a table to show, in this order. By default all; of more than 24, each row
            shows those in which it is most unusual.
        n_rows : int, optional
            Show only this many rows, the most suspicious ones, beside those in `decisions`. All by
            default, up to 100,000.
        decisions : path-like, str, file or DataFrame, optional
            Decisions about these rows, as an earlier page exported them. The page opens with the
            rows that are still undecided.
        title : str, default="Label review"

        Returns
        -------
        pathlib.Path
            Path of the file.

        Raises
        ------
        NotFittedError
            Before ``fit``, of an estimator.
        ValueError
            As :func:`~sam_attribution.review.review_page`, for instance if `X` does not have the
            number of judged rows, or has the same index in another order.
        """
        index, found = self._on_page()
        _check_rows(X, len(found["given"]))
        if index is not None:
            check_order(y=pd.Series(found["given"], index), X=X)
            has_names = ids is not None or hasattr(X, "iloc") or not index.is_unique
            ids = ids if has_names else index
        return review_page(
            path,
            X,
            **found,
            class_names=class_names,
            descriptions=descriptions,
            ids=ids,
            image_shape=image_shape,
            columns=columns,
            n_rows=n_rows,
            decisions=decisions,
            title=title,
        )


def _check_rows(X, n_judged):
    refuse_odd_tensor(X, "X")
    n_given = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_given != n_judged:
        raise ValueError(
            f"X must show the {n_judged} rows that were judged, in their order, got {n_given} "
            "rows. Show some of them only with n_rows."
        )
