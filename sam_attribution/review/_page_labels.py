"""The labels of a page, each with a text to read."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from sam_attribution._class_names import named_classes
from sam_attribution.review._written_labels import label_token


@dataclass(frozen=True)
class PageLabels:
    """The labels of a page: the classes first, then the other labels that rows have."""

    tokens: list[str]
    texts: list[str]
    values: list

    def codes(self, values):
        """Position of each value's label, int32 array."""
        position = {token: code for code, token in enumerate(self.tokens)}
        return np.array([position[label_token(value)] for value in values], dtype=np.int32)


def page_labels(given, suggested, classes, class_names, added=()):
    """Return the :class:`PageLabels`, and how many of them are classes.

    `added` are labels that rows got in earlier decisions, with None where they got none.
    """
    if classes is None:
        classes = _distinct(given, suggested)
    found = {label_token(label): label for label in classes}
    if len(found) != len(classes):
        raise ValueError(f"classes must hold each label once, got {list(classes)}.")
    names = {label_token(label): name for label, name in named_classes(class_names, classes)}
    for label in [*given, *suggested, *(label for label in added if label is not None)]:
        found.setdefault(label_token(label), label)
    texts = [names.get(token, _text(label)) for token, label in found.items()]
    twice = {text for text, count in Counter(texts).items() if count > 1}
    tokens = list(found)
    texts = [
        f"{text} ({token})" if text in twice else text
        for token, text in zip(tokens, texts, strict=True)
    ]
    return PageLabels(tokens, texts, list(found.values())), len(classes)


def _distinct(given, suggested):
    found = {label_token(label): label for label in [*given, *suggested]}
    try:
        return sorted(found.values())
    except TypeError:  # of several kinds
        return [found[token] for token in sorted(found)]


def _text(label):
    text = str(label)
    return text if text.strip() else repr(text)
