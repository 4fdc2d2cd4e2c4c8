"""Labels as positions and as words."""

from collections.abc import Mapping

import numpy as np
from sklearn.utils import column_or_1d

from sam_attribution._validation import codes_among, from_tensor


def class_texts(classes, class_names):
    """What to call each of the `classes`: names in the same order, or by label; None: as it is."""
    if class_names is None:
        return [label_text(label) for label in classes]
    if isinstance(class_names, Mapping):
        return [str(class_names.get(label, label_text(label))) for label in classes]
    if len(class_names) != len(classes):
        raise ValueError(
            f"class_names must hold a name for each of the {len(classes)} classes, "
            f"got {len(class_names)}."
        )
    return [str(name) for name in class_names]


def label_text(label):
    """A label, or a target of a regressor, to read."""
    return f"{label:.3g}" if isinstance(label, float | np.floating) else str(label)


def one_per_row(values, name, n_rows=None):
    """Array of shape (n_rows,)."""
    values = column_or_1d(from_tensor(values, name))
    if n_rows is not None and len(values) != n_rows:
        raise ValueError(
            f"{name} must hold one entry for each of {n_rows} rows, got {len(values)}."
        )
    return values


def scores_of_rows(scores):
    """Float array of shape (n_rows,), NaN allowed."""
    scores = np.asarray(from_tensor(scores, "scores"), dtype=float)
    if scores.ndim != 1 or np.isinf(scores).any():
        raise ValueError(
            "scores must have one dimension and be finite or NaN, got "
            f"{'infinity' if scores.ndim == 1 else f'shape {scores.shape}'}."
        )
    return scores


def mask_of_rows(values, name, n_rows=None):
    """Boolean array of shape (n_rows,); ValueError for row numbers."""
    values = one_per_row(values, name, n_rows)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} must hold True and False only, got {np.unique(values)[:5]}.")
    return values.astype(bool)


def codes_of(classes, labels, name, n_rows):
    """Positions of `labels` in `classes`, in whatever order these are."""
    order = np.argsort(classes)
    return order[codes_among(classes[order], one_per_row(labels, name, n_rows), name)]
