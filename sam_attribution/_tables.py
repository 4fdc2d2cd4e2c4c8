"""Tables that print all of their columns within 80 columns, with numbers that can be read."""

from bisect import bisect_left
from collections.abc import Callable
from textwrap import fill

import numpy as np
import pandas as pd

from sam_attribution._summary import WIDTH, described

_LONGEST = 20  # characters of a text that stands among numbers
_NAMES = 10  # of a dict


def significant(number):
    """A number with three significant digits, and all digits of large whole parts.

    Examples
    --------
    >>> from sam_attribution._tables import significant
    >>> [significant(number) for number in (0.99517, 12345.6, 1.0, 2.5e-7)]
    ['0.995', '12346', '1', '2.5e-07']
    """
    if np.isnan(number):
        return "NaN"
    return f"{number:.0f}" if 1000 <= abs(number) < 1e7 else f"{number:.3g}"


def probability(value):
    """A probability with three decimals, which is never rounded to 0 or 1.

    Examples
    --------
    >>> from sam_attribution._tables import probability
    >>> [probability(value) for value in (0.25, 0.99999, 1e-6)]
    ['0.250', '>0.999', '<0.001']
    """
    if np.isnan(value):
        return "NaN"
    if value > 0.9995:
        return ">0.999"
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


class ShownTable(pd.DataFrame):
    """DataFrame that prints every column, in blocks of 80 columns at most where they need more.

    Parts of it do the same. The numbers themselves are exact. A subclass says by ``_formats`` how a
    number of any column is shown, and by ``_formatters`` how those of some columns are.
    """

    _formats = staticmethod(significant)
    _formatters: dict[str, Callable] = {}
    _line_width = WIDTH

    @property
    def _constructor(self):
        return type(self)

    def __repr__(self):
        text = self._within(self._line_width)
        if self._line_width is None or not _breaks(text):
            return text
        # the narrowest blocks: a column does not stand alone in the last one
        widths = range(1, self._line_width)
        fewest = bisect_left(widths, -_breaks(text), key=lambda w: -_breaks(self._within(w)))
        return self._within(fewest + 1)

    def _within(self, width):
        return pd.DataFrame.to_string(self, line_width=width, **self._shown())

    def _repr_html_(self):
        with pd.option_context("display.max_colwidth", None):
            return pd.DataFrame.to_html(self, notebook=True, **self._shown())

    def _shown(self):
        most, least = (pd.get_option(f"display.{name}_rows") for name in ("max", "min"))
        is_long = most is not None and len(self) > most
        return {
            "max_rows": (least or most) if is_long else None,
            "show_dimensions": is_long,
            "float_format": self._formats,
            "formatters": {k: f for k, f in self._formatters.items() if k in self.columns},
        }


def _breaks(text):
    return text.count("\n\n")


class DiagnosticsTable(pd.DataFrame):
    """DataFrame with a row for each split that prints turned: a line for each number.

    Long texts are printed below the numbers. What is computed from it is a plain DataFrame.
    """

    @property
    def _constructor(self):
        return pd.DataFrame

    def __repr__(self):
        texts = [name for name in self.columns if any(map(_is_long, self[name]))]
        numbers = pd.DataFrame(self).drop(columns=texts)
        notes = [note for name in texts for note in self._notes(name)]
        shown = [_turned(numbers).to_string(line_width=WIDTH)] if len(numbers.columns) else []
        return "\n\n".join([*shown, *notes])

    def _repr_html_(self):
        with pd.option_context("display.max_colwidth", None):
            return _turned(pd.DataFrame(self)).to_html()

    def _notes(self, name):
        """The texts of a column, one for all splits where they are the same."""
        texts = {split: _cell(value) for split, value in self[name].items()}
        if len(set(texts.values())) == 1:
            texts = {None: next(iter(texts.values()))}
        for split, text in texts.items():
            of_split = "" if split is None else f" (split {split})"
            yield fill(f"{name}{of_split}: {text}", WIDTH, subsequent_indent="  ")


def diagnostics_table(rows):
    """Return a :class:`DiagnosticsTable` of a dict for each split."""
    return DiagnosticsTable(pd.DataFrame(rows).rename_axis("split"))


def _turned(table):
    cells = {name: [_cell(value) for value in table[name]] for name in table.columns}
    turned = pd.DataFrame(cells, index=table.index, dtype=object).T
    return turned.rename_axis(columns=table.index.name)


def _is_long(value):
    return isinstance(value, dict) or (isinstance(value, str) and len(value) > _LONGEST)


def _cell(value):
    if isinstance(value, dict):
        more = f", ... ({len(value)} in all)" if len(value) > _NAMES else ""
        return ", ".join(f"{k}: {_cell(v)}" for k, v in list(value.items())[:_NAMES]) + more
    if isinstance(value, float | np.floating):
        return significant(float(value))
    return value if isinstance(value, str) else described(value)
