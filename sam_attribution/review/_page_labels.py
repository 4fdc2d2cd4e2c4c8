"""The labels of a page, each with a text to read."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sam_attribution._validation import num_samples
from sam_attribution.review._written_labels import label_token


@dataclass(frozen=True)
class PageLabels:
    """The labels of a page: the classes first, then the other labels that rows have."""

    tokens: list[str]
    texts: list[str]

    def codes(self, values):
        """Position of each value's label, int32 array."""
        position = {token: code for code, token in enumerate(self.tokens)}
        return np.array([position[label_token(value)] for value in values], dtype=np.int32)


def page_labels(given, suggested, classes, class_names):
    """Return the :class:`PageLabels`, and how many of them are classes."""
    if classes is None:
        classes = _distinct(given, suggested)
    found = {label_token(label): label for label in classes}
    if len(found) != len(classes):
        raise ValueError(f"classes must hold each label once, got {list(classes)}.")
    names = _names(class_names, classes)
    for label in [*given, *suggested]:
        found.setdefault(label_token(label), label)
    texts = [names.get(token, _text(label)) for token, label in found.items()]
    twice = {text for text, count in Counter(texts).items() if count > 1}
    tokens = list(found)
    texts = [
        f"{text} ({token})" if text in twice else text
        for token, text in zip(tokens, texts, strict=True)
    ]
    return PageLabels(tokens, texts), len(classes)


def _distinct(given, suggested):
    found = {label_token(label): label for label in [*given, *suggested]}
    try:
        return sorted(found.values())
    except TypeError:  # of several kinds
        return [found[token] for token in sorted(found)]


def _names(class_names, classes):
    """Return the texts of the classes that have a name, by token."""
    if class_names is None:
        return {}
    if isinstance(class_names, Mapping):
        return {label_token(label): str(name) for label, name in class_names.items()}
    if num_samples(class_names) != len(classes):
        raise ValueError(
            f"class_names must hold one name for each of the {len(classes)} classes, got "
            f"{num_samples(class_names)}. A dict from label to name may leave some out."
        )
    pairs = zip(classes, class_names, strict=True)
    return {label_token(label): str(name) for label, name in pairs}


def _text(label):
    text = str(label)
    return text if text.strip() else repr(text)
