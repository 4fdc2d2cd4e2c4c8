"""Decisions of a file, each checked to be about a row of the table."""

from dataclasses import dataclass

from sam_attribution.review._written_labels import label_token

DECISIONS = ("keep", "relabel", "remove", "unsure")
# labels that pandas.read_csv takes for empty cells
_EMPTY = {"NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "-NaN", "None", "NULL", "null"}


@dataclass(frozen=True)
class Decision:
    """One line of a file: what somebody decided about a row, who did, when, and a remark."""

    line: int
    row: int
    decision: str
    label: object
    reviewer: str
    time: str
    note: str


def checked_decisions(entries, y, labels, rows):
    """Return entries of ``decision_lines`` as :class:`Decision`; a ValueError names a wrong one.

    `y` holds the given labels, `labels` are :class:`WrittenLabels`, `rows` :class:`Rows`.
    """
    decisions = [_checked(entry, y, labels, rows) for entry in entries]
    _check_once(decisions)
    return decisions


def _checked(numbered, y, labels, rows):
    line, entry = numbered
    names = [f"{name} {entry[name]}" for name in ("row", "id") if entry[name]]
    where = f"csv, line {line} ({', '.join(names)})"
    row = rows.position(entry, where)
    if not labels.means(entry["given"], y[row]):
        raise ValueError(
            f"{where}{rows.without_ids(entry)}: the given label must be that of y, got "
            f"{entry['given'] or 'nothing'} where y has {label_token(y[row])}. "
            f"{_remedy(entry['given'], y[row])}"
        )
    decision, text = entry["decision"].lower(), entry["label"]
    if decision not in DECISIONS:
        raise ValueError(
            f"{where}: decision must be one of {', '.join(DECISIONS)}, got {entry['decision']!r}."
        )
    if decision == "keep" and text and not labels.means(text, y[row]):
        raise ValueError(
            f"{where}: decision is keep, but label is {text}, not the given one. Write relabel, or "
            "delete the label."
        )
    label = labels.read(text, where) if decision == "relabel" else None
    return Decision(line, row, decision, label, entry["reviewer"], entry["time"], entry["note"])


def _remedy(given, label):
    if given == "" and label in _EMPTY:
        return "pandas takes it for an empty cell: read the file with keep_default_na=False."
    return "Pass the y that the page was made of, not a corrected one."


def _check_once(decisions):
    lines = {}
    for decision in decisions:
        first = lines.setdefault(decision.row, decision.line)
        if first != decision.line:
            raise ValueError(
                f"csv, line {decision.line} (row {decision.row}): a row must have one decision, "
                f"got another in line {first}. Keep one of them."
            )
