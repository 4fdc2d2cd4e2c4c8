"""Labels as a CSV has them, exact or as a person or a spreadsheet wrote them."""

import json

from sam_attribution.report import label_token


class WrittenLabels:
    """Which label a text means.

    Parameters
    ----------
    labels, classes : list
        Labels that may be meant.
    """

    def __init__(self, labels, classes):
        self._exact = {}
        for label in [*labels, *classes]:
            self._exact.setdefault(label_token(label), label)
        self._loose = {}
        for token, label in self._exact.items():
            for text in _other_spellings(token, label):
                self._loose.setdefault(text, set()).add(token)

    def read(self, text, where):
        """Return the label, or raise a ValueError."""
        token = self._token(text)
        if token is None:
            raise ValueError(
                f"{where}: label must be one of {', '.join(list(self._exact)[:10])}, got {text!r}. "
                "Further labels can be allowed with classes."
            )
        return self._exact[token]

    def means(self, text, label):
        """Whether a text stands for this label."""
        return self._token(text) == label_token(label)

    def _token(self, text):
        if text in self._exact:
            return text
        meant = self._loose.get(text, set()) | self._loose.get(text.lower(), set())
        return meant.pop() if len(meant) == 1 else None


def _other_spellings(token, label):
    """What a spreadsheet makes of a token (TRUE, 1 for 1.0), or a person (cat without quotes)."""
    yield str(label).strip()
    value = json.loads(token)
    if isinstance(value, bool):
        yield token.lower()
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
