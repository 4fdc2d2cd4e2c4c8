"""Labels on the page and in its CSV: an exact spelling, and a text to read."""

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np

from sam_attribution._class_names import named_classes


def label_token(label):
    r"""How a label is written in the CSV of decisions: as JSON, on one line.

    JSON keeps ``1``, ``1.0``, ``"1"`` and ``true`` apart. A string stands in quotes, so that no
    spreadsheet takes it for a formula, an empty cell or a date.

    Parameters
    ----------
    label : str, int, float, bool or NumPy scalar of these

    Returns
    -------
    str
        Printable characters only; ``json.loads`` gives the label back.

    Raises
    ------
    TypeError
        For a label of another type.

    Examples
    --------
    >>> from sam_attribution.report import label_token
    >>> print(label_token("=1+1"), label_token(7), label_token("two\nlines"))
    "=1+1" 7 "two\nlines"
    """
    value = label.item() if isinstance(label, np.generic) else label
    if not isinstance(value, str | bool | int | float):
        raise TypeError(
            "labels must be strings, numbers or booleans to be written to a CSV, got "
            f"{label!r} of type {type(label).__name__}. Name the classes by strings."
        )
    token = json.dumps(value, ensure_ascii=False)
    if token.isprintable():
        return token
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in token)


@dataclass(frozen=True)
class Labels:
    """The labels of a page: the classes first, then others that a row carries."""

    tokens: list[str]
    texts: list[str]

    def codes(self, values):
        """Position of each value's label, int32 array."""
        position = {token: code for code, token in enumerate(self.tokens)}
        return np.array([position[label_token(value)] for value in values], dtype=np.int32)


def labels_of(given, suggested, classes, class_names):
    """The :class:`Labels` of a page, and how many of them are classes."""
    if classes is None:
        classes = _distinct(given, suggested)
    found = {label_token(label): label for label in classes}
    if len(found) != len(classes):
        raise ValueError(f"classes must hold each label once, got {list(classes)}.")
    names = {label_token(label): name for label, name in named_classes(class_names, classes)}
    for label in [*given, *suggested]:
        found.setdefault(label_token(label), label)
    texts = [names.get(token, _text(label)) for token, label in found.items()]
    twice = {text for text, count in Counter(texts).items() if count > 1}
    tokens = list(found)
    texts = [
        f"{text} ({token})" if text in twice else text
        for token, text in zip(tokens, texts, strict=True)
    ]
    return Labels(tokens, texts), len(classes)


def _distinct(given, suggested):
    found = {label_token(label): label for label in [*given, *suggested]}
    try:
        return sorted(found.values())
    except TypeError:  # of several kinds
        return [found[token] for token in sorted(found)]


def _text(label):
    text = str(label)
    return text if text.strip() else repr(text)
