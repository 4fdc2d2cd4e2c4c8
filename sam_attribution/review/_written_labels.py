"""Labels in the CSV of decisions: how they are written, and how they are read back."""

import json
import re
from functools import cached_property

import numpy as np

_EXACT = 2**53  # integers below are floats as well
_SHOWN = 10  # labels in a message


def label_token(label):
    r"""Write a label as JSON on one line, as the CSV of decisions holds it.

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
    >>> from sam_attribution.review import label_token
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


class WrittenLabels:
    """Reader of labels that the page, a person or a spreadsheet wrote, meaning one of `labels`."""

    def __init__(self, labels):
        self._exact = {}
        for label in labels:
            self._exact.setdefault(label_token(label), label)

    def read(self, text, where):
        """Return the label, or raise a ValueError."""
        token = self.token(text)
        if token is None:
            known = sorted(self._exact)
            more = f", ... ({len(known)} in all)" if len(known) > _SHOWN else ""
            raise ValueError(
                f"{where}: label must be one of {', '.join(known[:_SHOWN])}{more}, got {text!r}. "
                "Further labels can be allowed with classes."
            )
        return self._exact[token]

    def means(self, text, label):
        """Return True if the text stands for this label."""
        return self.token(text) == label_token(label)

    def token(self, text):
        """Return the token of the label that a text stands for; None if it is none, or several."""
        if text in self._exact:
            return text
        meant = self._loose.get(text, set())
        if not any(isinstance(self._exact[token], str) for token in meant):  # TRUE is true
            meant = meant | self._loose.get(text.lower(), set())
        return next(iter(meant)) if len(meant) == 1 else None

    @cached_property
    def _loose(self):
        loose = {}
        for token, label in self._exact.items():
            for text in _other_spellings(token, label):
                loose.setdefault(text, set()).add(token)
        for text, tokens in self._without_zeros().items():
            loose.setdefault(text, tokens)
        return loose

    def _without_zeros(self):
        """What a spreadsheet makes of labels such as 007, and their tokens."""
        found = {}
        for token, label in self._exact.items():
            if isinstance(label, str) and re.fullmatch("0+[0-9]+", label):
                found.setdefault(str(int(label)), set()).add(token)
        return found


def _other_spellings(token, label):
    """Yield what a spreadsheet (TRUE, 1 for 1.0, 1.0 for 1) or a person (cat) writes."""
    yield str(label).strip()
    value = json.loads(token)
    if isinstance(value, bool):
        yield token.lower()
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif isinstance(value, int) and abs(value) < _EXACT:  # beyond, a float may mean several
        yield f"{value}.0"
