"""Labels as positions and as words."""

from collections.abc import Mapping

import numpy as np

from sam_attribution._validation import check_column, codes_among


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


def codes_of(classes, labels, name, n_rows):
    """Positions of `labels` in `classes`, in whatever order these are."""
    order = np.argsort(classes)
    return order[codes_among(classes[order], check_column(labels, name, n_rows), name)]
