"""Decisions of earlier sessions, as the page takes them over."""

import hashlib
import json

from sam_attribution.review._checked_decisions import checked_decisions
from sam_attribution.review._decision_file import decision_lines
from sam_attribution.review._row_identity import Rows
from sam_attribution.review._written_labels import WrittenLabels, label_token


def earlier_decisions(csv, X, y, ids, known):
    """Return the decisions of a file about these rows, an empty list without a file.

    `y` holds the given labels, `ids` the tokens of the rows' ids or None. A label that is not among
    the `known` ones is one that a reviewer added.
    """
    if csv is None:
        return []
    entries = decision_lines(csv, "decisions")
    labels = WrittenLabels([*known, *_added(entries, WrittenLabels(known))])
    rows = Rows(X, [label_token(label) for label in y], ids)
    return checked_decisions(entries, y, labels, rows)


def for_page(decisions):
    """Return what the page reads: a key of the decisions, and a list of values for each."""
    if not decisions:
        return None
    entries = [
        [
            *(d.row, d.decision),
            None if d.label is None else label_token(d.label),
            *(d.reviewer, d.time, d.note),
        ]
        for d in decisions
    ]
    key = hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]
    return {"key": key, "entries": entries}


def _added(entries, known):
    """Yield labels that are written as JSON and not known."""
    for _, entry in entries:
        text = entry["label"]
        if entry["decision"] == "relabel" and known.token(text) is None:
            try:
                label = json.loads(text)
            except ValueError:
                continue  # reading the line says what is wrong
            if isinstance(label, str | bool | int | float):
                yield label
