"""One method or several, each with its name."""

from collections.abc import Mapping

import numpy as np
import pandas as pd


def columns(scores, truth=None):
    """A DataFrame as a dict of its columns, each a method's; anything else as it is.

    A column "truth" that holds `truth` is no method's, and left out.
    """
    if not isinstance(scores, pd.DataFrame):
        return scores
    found = dict(scores)
    if truth is not None and "truth" in found and _same(found["truth"], truth):
        del found["truth"]
    return found


def _same(column, truth):
    truth = np.asarray(truth, float)
    return truth.shape == column.shape and np.array_equal(column, truth, equal_nan=True)


def by_name(values, name, *, argument, default):
    """Dict of what a display shows of each method; a single method may come bare, with a name."""
    if not isinstance(values, Mapping):
        return {default if name is None else name: values}
    if name is not None:
        raise ValueError(
            f"name is for a single method, got {name!r} and a dict of {argument}. Leave it out: "
            "the keys are the names."
        )
    if not values:
        raise ValueError(f"{argument} must hold one method or more, got an empty dict.")
    return dict(values)
