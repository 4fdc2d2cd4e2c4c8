"""Names of classes, given in the order of the classes or by label."""

from collections.abc import Mapping

import numpy as np

from sam_attribution._validation import num_samples


def named_classes(class_names, classes=None):
    """List of pairs of a label and its name.

    A dict maps labels to names and may leave some out. A sequence holds one name for each of the
    `classes`, or for the labels 0, 1, ... if `classes` is None.
    """
    if class_names is None:
        return []
    if isinstance(class_names, Mapping):
        return [(label, str(name)) for label, name in class_names.items()]
    n_names = num_samples(class_names)
    classes = range(n_names) if classes is None else classes
    if n_names != len(classes):
        raise ValueError(
            f"class_names must hold one name for each of the {len(classes)} classes, got "
            f"{n_names}. A dict from label to name may leave some out."
        )
    return [(label, str(name)) for label, name in zip(classes, class_names, strict=True)]


def class_texts(labels, class_names, classes=None):
    """List with the name of each label, or the label as text if a dict leaves it out.

    `class_names` and `classes` are those of :func:`named_classes`.
    """
    names = dict(named_classes(class_names, classes))
    missing = [label for label in labels if label not in names]
    if missing and not (class_names is None or isinstance(class_names, Mapping)):
        raise ValueError(
            f"class_names has no name for the label {label_text(missing[0])}: a sequence names 0, "
            "1, ... Pass a dict from label to name."
        )
    return [names.get(label, label_text(label)) for label in labels]


def label_text(label):
    """Text of a class label; floats, such as the targets of a regressor, get three digits."""
    return f"{label:.3g}" if isinstance(label, float | np.floating) else str(label)
