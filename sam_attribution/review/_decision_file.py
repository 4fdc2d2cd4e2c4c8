"""The lines of a file of decisions as texts, as a page, a person or a spreadsheet wrote them."""

import csv as csv_format
import io
import json
import re
from numbers import Number
from os import PathLike

import numpy as np
import pandas as pd

from sam_attribution._folders import naming_path, user_path
from sam_attribution.review._written_labels import label_token

_OF_A_PERSON = ("row", "id", "given", "suggested", "decision", "label")
_REMARKS = ("reviewer", "time", "note")
COLUMNS = (*_OF_A_PERSON, "page", *_REMARKS)
_NEEDED = ("given", "decision", "label")
_SEPARATOR_LINE = re.compile('"?sep=[,;\\t]?"?[,;]*')  # which tells it to a spreadsheet
_SAVE_AS = 'Save it as "CSV UTF-8".'


def decision_lines(csv, argument="csv"):
    """Return pairs of line number and dict of the texts in `COLUMNS`; empty lines are left out."""
    is_frame = isinstance(csv, pd.DataFrame)
    header, lines = _of_frame(csv) if is_frame else _of_text(_text_of(csv, argument))
    header = _names_in([str(name).strip() for name in header])
    _check_header(header)
    entries = [(number, _entry(header, cells, number)) for number, cells in lines]
    entries = [(n, entry) for n, entry in entries if any(entry[name] for name in _OF_A_PERSON)]
    # a line that a person added is about the page of the others
    page = next((entry["page"] for _, entry in entries if entry["page"]), "")
    return [(n, entry | {"page": entry["page"] or page}) for n, entry in entries]


def _names_in(header):
    """The header with the names of columns in small letters, where a spreadsheet has others."""
    small = [name.lower() for name in header]
    alone = [name in COLUMNS and small.count(name) == 1 for name in small]
    return [low if only else name for low, name, only in zip(small, header, alone, strict=True)]


def _of_frame(frame):
    rows = enumerate(frame.itertuples(index=False, name=None), 2)  # the header is line 1
    return frame.columns, [(line, [_cell_text(value) for value in row]) for line, row in rows]


def _cell_text(value):
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    return label_token(value) if isinstance(value, Number | np.generic) else str(value)


def _of_text(text):
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="").readlines()
    if lines and _SEPARATOR_LINE.fullmatch(lines[0].strip()):
        lines[0] = "\n"  # the lines below keep their numbers
    header = next((line for line in lines if line.strip()), "")
    reader = csv_format.reader(lines, delimiter=_separator(header))
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv_format.Error as error:
        raise ValueError(f"csv, line {reader.line_num}: no CSV ({error}).") from error
    return (rows[0][1], rows[1:]) if rows else ([], [])


def _separator(header):
    """The separator that finds most of the columns."""

    def n_columns(separator):
        cells = next(csv_format.reader([header], delimiter=separator), [])
        return sum(cell.strip().lower() in COLUMNS for cell in cells)

    return max(",;\t", key=n_columns)


def _text_of(csv, argument):
    """The text of a path or of an open file."""
    if isinstance(csv, str) and "\n" in csv:
        raise ValueError(f"{argument} must be a path or a file, got text. Pass io.StringIO(text).")
    if isinstance(csv, str | PathLike):
        with naming_path(argument, csv), user_path(csv, argument).open("rb") as file:
            return _decoded(file.read())
    if not hasattr(csv, "read"):
        kind = type(csv).__name__
        raise TypeError(f"{argument} must be a path, a file or a DataFrame, got {kind}.")
    try:
        return _decoded(csv.read())
    except UnicodeDecodeError as error:
        raise ValueError(f"csv is not in UTF-8 ({error}). {_SAVE_AS}") from error


def _decoded(content):
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"csv must be in UTF-8, got byte {content[error.start]:#x} at position "
                f"{error.start}: another encoding. {_SAVE_AS}"
            ) from error
    if "\0" in content:  # every second byte of UTF-16
        raise ValueError(f"csv must be in UTF-8, got another encoding such as UTF-16. {_SAVE_AS}")
    return content


def _check_header(header):
    if len(header) == 1 and (found := [mark for mark in ",;\t" if mark in header[0]]):
        raise ValueError(
            f"csv has a single column, {header[0]!r:.40}: it was read with another separator than "
            f"{found[0]!r}. Pass the path of the file, or pandas.read_csv(path, sep={found[0]!r})."
        )
    missing = [name for name in _NEEDED if name not in header]
    if not {"row", "id"} & set(header):
        missing.insert(0, "row or id")
    if missing:
        raise ValueError(
            f"csv must have the columns {', '.join(_OF_A_PERSON)}, got "
            f"{', '.join(header) or 'none'}: {', '.join(missing)} not found. Export it from the "
            "review page."
        )
    if twice := [name for name in COLUMNS if header.count(name) > 1]:
        raise ValueError(f"csv has the column {twice[0]} more than once. Keep one of them.")


def _entry(header, cells, number):
    if any(cell.strip() for cell in cells[len(header) :]):
        raise ValueError(
            f"csv, line {number}: {len(cells)} cells for {len(header)} columns. Put a cell that "
            "holds the separator in double quotes."
        )
    found = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
    entry = {name: found.get(name, "") for name in COLUMNS}
    return entry | {name: _plain(entry[name]) for name in _REMARKS}


def _plain(text):
    """A remark without the quotes of JSON, in which the page writes it."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
