"""Removal curve: value of a model trained without the rows of lowest score."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_scalar
from tqdm.auto import tqdm

from sam_attribution._jobs import in_parallel
from sam_attribution._ranking import lowest
from sam_attribution._row_order import check_results
from sam_attribution._seeding import draw_seed
from sam_attribution._validation import check_column


def removal_curve(
    scores,
    evaluate,
    *,
    fractions=(0, 0.05, 0.1, 0.2, 0.3),
    n_random=5,
    random_state=None,
    n_jobs=None,
    verbose=0,
):
    """Train again without the rows of lowest score, and without as many random rows.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Low scores are removed first, equal ones in the order of the rows. A row without a score
        (NaN) is never removed, and is not drawn at random either.
    evaluate : callable
        ``evaluate(kept) -> float`` trains on the rows where the mask `kept`, of shape
        (n_samples,), is True, and returns the accuracy (or another value) on other rows.
    fractions : sequence of float, default=(0, 0.05, 0.1, 0.2, 0.3)
        Shares to remove of the rows that have a score, each in [0, 1). Within one order of removal
        a larger share removes the same rows and more.
    n_random : int, default=5
        Number of random orders of removal.
    random_state : int, RandomState instance or None, default=None
        Seed of the random orders. None takes one from the operating system.
    n_jobs : int, default=None
        Number of trainings at once, by joblib's rules. Each runs in a process of its own, to
        which `evaluate` and all that it refers to are copied; changes to these are lost.
    verbose : int, default=0
        A value above 0 shows a progress bar.

    Returns
    -------
    DataFrame
        One line per training: `fraction`, `n_removed`, `kind` ("lowest score" or "random"),
        `seed` (number of the random order; missing for the lowest scores) and `value`.

    Raises
    ------
    TypeError, ValueError
        If a fraction lies outside [0, 1) or `evaluate` does not return a number.

    Notes
    -----
    The cost is at most ``len(fractions) * (1 + n_random)`` calls of `evaluate`, which is called
    once for each set of rows: all orders share the value without removal.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.metrics import removal_curve
    >>> right = np.array([False, True, True, True])
    >>> removal_curve(
    ...     [-1.0, 0.5, 0.1, 0.2],
    ...     lambda kept: right[kept].mean(),
    ...     fractions=[0, 0.25],
    ...     n_random=0,
    ... )
       fraction  n_removed          kind  seed  value
    0      0.00          0  lowest score  <NA>   0.75
    1      0.25          1  lowest score  <NA>   1.00
    """
    check_results({"the mask kept": None}, scores=scores)
    scores = check_column(scores, "scores", dtype="float64")
    fractions = _checked(fractions)
    check_scalar(n_random, "n_random", Integral, min_val=0)
    if not callable(evaluate):
        raise TypeError(f"evaluate must be a function of the mask of kept rows, got {evaluate!r}.")
    base = draw_seed(random_state)
    orders = [("lowest score", pd.NA, scores)]
    orders += [("random", seed, _at_random(scores, [base, seed])) for seed in range(n_random)]
    lines = [
        {"fraction": fraction, "kind": kind, "seed": seed, "kept": ~lowest(order, fraction)}
        for kind, seed, order in orders
        for fraction in fractions
    ]
    values = _values(evaluate, [line["kept"] for line in lines], n_jobs, verbose)
    table = pd.DataFrame(lines, columns=["fraction", "n_removed", "kind", "seed", "kept"])
    table["n_removed"] = [int((~kept).sum()) for kept in table.pop("kept")]
    return table.assign(value=values).astype({"seed": "Int64"})


def _checked(fractions):
    fractions = check_column(fractions, "fractions", dtype="float64")
    if not np.all((fractions >= 0) & (fractions < 1)):
        raise ValueError(f"fractions must lie in [0, 1), got {fractions.tolist()}.")
    return fractions.tolist()


def _at_random(scores, seed):
    """Random scores for the rows that have a score."""
    return np.where(np.isnan(scores), np.nan, np.random.default_rng(seed).random(len(scores)))


def _values(evaluate, masks, n_jobs, verbose):
    """Values of `evaluate` for the masks; equal masks are evaluated once."""
    distinct = {kept.tobytes(): kept.copy() for kept in masks}
    arguments = ({"evaluate": evaluate, "kept": kept} for kept in distinct.values())
    found = in_parallel(_number, arguments, n_jobs=n_jobs)
    bar = tqdm(
        found, desc="removal curve", unit="training", total=len(distinct), disable=not verbose
    )
    known = dict(zip(distinct, bar, strict=True))
    return [known[kept.tobytes()] for kept in masks]


def _number(evaluate, kept):
    value = evaluate(kept)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"evaluate must return a number, got {value!r}.") from error
