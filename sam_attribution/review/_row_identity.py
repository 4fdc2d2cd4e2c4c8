"""Rows of a table that decisions are about, and the check that it is the table of the page."""

import hashlib
import json
import re
from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from sam_attribution._as_arrays import from_tensor, values_of
from sam_attribution._row_order import check_order
from sam_attribution._row_source import RowSource
from sam_attribution._validation import check_length
from sam_attribution.review._pictures import is_picture
from sam_attribution.review._written_labels import WrittenLabels, label_token

_NONE = "0"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+>")  # in memory


def row_ids(X, ids, n_samples):
    """Tokens of the rows' ids: of `ids`, or else of a pandas index that names each row once."""
    if ids is None:
        tokens = [_id_token(n, "the index of X") for n in X.index] if hasattr(X, "iloc") else []
        return tokens if tokens and len(set(tokens)) == len(tokens) else None
    if isinstance(ids, Set | Mapping):
        raise TypeError(
            f"ids must be in the order of the rows, got a {type(ids).__name__}. Pass a list."
        )
    check_order(X=X, ids=ids)
    check_length(ids, "ids", n_samples)
    tokens = [_id_token(name, "ids") for name in values_of(ids, "ids")]
    if len(set(tokens)) < len(tokens):
        seen = set()
        twice = next(token for token in tokens if token in seen or seen.add(token))
        raise ValueError(f"ids must name each row once, got {twice} more than once.")
    return tokens


def _id_token(name, argument):
    """Label token of an id; other things than strings, numbers and booleans as their text."""
    try:
        return label_token(name)
    except TypeError:
        return label_token(_lasting_text(name, argument))


def _lasting_text(name, argument):
    """Text of a date, a tuple or the like; a TypeError for one that another process cannot give."""
    text = str(name)
    if not isinstance(name, Hashable) or _ADDRESS.search(text):
        raise TypeError(
            f"{argument} must name the rows by strings, numbers, dates or the like, which a CSV "
            f"can hold, got {text:.80} of type {type(name).__name__}. Pass ids=, a string for each "
            "row."
        )
    return text


@dataclass(frozen=True)
class PageKey:
    """Hashes that tell the table of a page from another one.

    Attributes
    ----------
    labels : str
        Of the given labels in their order.
    named : str
        Of the pairs of id and given label, in any order; "0" without ids.
    rows, contents : str
        Of the rows of `X` in their order and in any order; "0" if `X` cannot be read row by row.
    """

    labels: str
    named: str
    rows: str
    contents: str

    @classmethod
    def of(cls, X, labels, ids):
        """Key of a table: its rows, its labels as :func:`label_token` writes them, and its ids."""
        labels = [_canonical(token) for token in labels]
        pairs = None if ids is None else sorted(zip(ids, labels, strict=True))
        contents = _row_hashes(X)
        return cls(
            labels=_digest(labels),
            named=_digest(pairs),
            rows=_digest(contents),
            contents=_digest(None if contents is None else sorted(contents)),
        )

    @classmethod
    def read(cls, text):
        """Key that :meth:`written` returned, or None for another text."""
        parts = re.fullmatch(r"page-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)", text)
        return None if parts is None else cls(*parts.groups())

    def written(self):
        """Text that no spreadsheet takes for a number."""
        return f"page-{self.labels}-{self.named}-{self.rows}-{self.contents}"


class Rows:
    """Rows that decisions are applied to.

    Parameters
    ----------
    X, labels, ids
        As for :meth:`PageKey.of`.
    """

    def __init__(self, X, labels, ids):
        self._table, self._n = (X, labels, ids), len(labels)
        self._position = None if ids is None else {name: row for row, name in enumerate(ids)}
        self._written = None if ids is None else WrittenLabels(map(json.loads, ids))
        self._key, self._checked = None, set()

    def position(self, entry, where):
        """Position of the row that a line is about; a ValueError if it is none of this table."""
        by_id = bool(entry["id"]) and self._position is not None
        row = self._found(entry, by_id)
        self._check_page(entry, by_id, row, f"{where}{self.without_ids(entry)}")
        if row is None and by_id:
            raise ValueError(
                f"{where}: id must be the id of a row of X, got {entry['id']}. Pass the X (or the "
                "ids) that the page was made of."
            )
        if row is None:
            raise ValueError(
                f"{where}: row must be a position from 0 to {self._n - 1}, got {entry['row']!r}. "
                "Pass the X and y that the page was made of."
            )
        return row

    def _found(self, entry, by_id):
        """Position of the row of a line, or None."""
        if by_id:
            return self._position.get(self._written.token(entry["id"]))
        number = re.fullmatch(r"(\d{1,18})(\.0*)?", entry["row"], re.ASCII)
        return int(number[1]) if number and int(number[1]) < self._n else None

    def without_ids(self, entry):
        """Remark that the id of a line was not looked up, for messages; "" if it was."""
        if not entry["id"] or self._position is not None:
            return ""
        return (
            ", found by its position since X has no index, or one that names rows twice (pass "
            "ids=X.index, as it was for the page)"
        )

    def _check_page(self, entry, by_id, row, where):
        text = entry["page"]
        if not text or (text, by_id) in self._checked:
            return
        page = PageKey.read(text)
        if page is None:
            raise ValueError(
                f"{where}: page must be what the review page wrote there, got {text!r}. Restore "
                "it, or delete the column."
            )
        self._key = self._key or PageKey.of(*self._table)
        what = "named" if by_id and page.named != _NONE else "labels"
        if getattr(page, what) != getattr(self._key, what) and row is not None:
            _check_type(entry["given"], self._table[1][row], where)
        (_check_named if by_id else _check_in_order)(page, self._key, where)
        self._checked.add((text, by_id))


def _check_type(given, label, where):
    """Raise a ValueError if the label of the page is of another type than that of y."""
    if _type_of(given) != _type_of(label):
        raise ValueError(
            f"{where}: y must hold labels of the type on the page, got {label} where the page has "
            f"{given}. Pass the labels that the page was made of, such as the names of the classes."
        )


def _type_of(written):
    """The type of a label in the CSV; a text without quotes is a string."""
    try:
        value = json.loads(written)
    except json.JSONDecodeError:
        return str
    return float if type(value) is int else type(value)


def _check_named(page, here, where):
    if page.named not in (here.named, _NONE):
        raise ValueError(
            f"{where}: the page was made of other rows: its ids and labels are not those of X and "
            "y. Pass the tables that the page was made of, in any order."
        )
    if page.named == _NONE:
        _check_in_order(page, here, where)


def _check_in_order(page, here, where):
    if page.labels != here.labels:
        differ = "y holds other labels, or the same in another order"
    elif page.contents == here.contents and page.rows != here.rows:
        differ = "X holds the same rows in another order"
    else:
        return
    raise ValueError(
        f"{where}: {differ} than on the page, and a row without an id is found by its position. "
        "Pass X and y as they were, or write the page with ids=."
    )


def _canonical(token):
    """The token, with integers alike that came as int and as float."""
    return token.removesuffix(".0")


def _digest(values):
    if values is None:
        return _NONE
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]


def _row_hashes(X):
    """A hash of every row's content, or None where rows have no bytes of their own."""
    X = from_tensor(X, "X")
    if isinstance(X, RowSource):
        return None  # reading all rows may take long
    if issparse(X):
        return None
    if isinstance(X, pd.DataFrame):
        try:
            return [int(code) for code in pd.util.hash_pandas_object(X, index=False)]
        except TypeError:  # of cells that do not hash
            return None
    if isinstance(X, list | tuple | pd.Series):
        return _object_hashes(list(X))
    X = np.asarray(X)
    if X.dtype.hasobject:
        return _object_hashes(X.tolist())
    return [_short(np.ascontiguousarray(row).tobytes()) for row in X]


def _short(content):
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _object_hashes(rows):
    """A hash of each object by its text or pixels, or None if a text says where it lies."""
    contents = [_object_bytes(row) for row in rows]
    return None if None in contents else [_short(content) for content in contents]


def _object_bytes(row):
    if is_picture(row):
        return repr((row.mode, row.size)).encode() + row.tobytes()
    text = repr(row)
    return None if _ADDRESS.search(text) else text.encode()
