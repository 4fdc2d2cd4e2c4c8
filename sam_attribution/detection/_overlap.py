"""Rows of a ValidationData that were trained on as well."""

from sam_attribution._warnings import warn
from sam_attribution.problem import equal_rows


def warn_of_overlap(problem, X):
    """Warn if more of the rows `X` are among those trained on than rows of the latter are alike.

    Parameters
    ----------
    problem : Problem
        Of the training.
    X : Tensor or RowSource
        Validation rows.
    """
    if pairs := equal_rows(problem, X):
        first, trained = pairs[0]
        warn(
            f"{len(pairs)} of the {len(X)} rows of validation are rows of X as well: row {first} "
            f"of validation is row {trained} of X, for instance. The network has learned their "
            "labels, so they say too little about the labels of other rows. Remove them from X "
            "or from validation, or pass validation=0.2."
        )
