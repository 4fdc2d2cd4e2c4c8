"""One method or several, each with its name."""

from collections.abc import Mapping

import pandas as pd


def columns(scores):
    """A DataFrame as a dict of its columns, each a method's; anything else as it is."""
    return dict(scores) if isinstance(scores, pd.DataFrame) else scores


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
