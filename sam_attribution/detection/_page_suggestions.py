"""The labels that a review page suggests."""

import numpy as np


def page_suggestions(suggested, given, suspicious, label_log_proba, classes):
    """Return suggestions that differ from the given label in every suspicious row.

    Where the suggestion of a suspicious row is its given label, the most probable other label
    stands in its place.
    """
    agree = np.flatnonzero(suspicious & (suggested == given))
    others = np.where(classes == given[agree, None], -np.inf, label_log_proba[agree])
    found = suggested.copy()
    found[agree] = classes[others.argmax(axis=1)]
    return found
