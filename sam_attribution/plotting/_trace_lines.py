"""Lines of TraceDisplay: labels, score and epochs of queries and training rows."""

import pandas as pd

from sam_attribution._class_names import class_texts
from sam_attribution.plotting._axes import BLUE, VERMILLION

COLOURS = {"query": "black", "harmed": VERMILLION, "helped": BLUE}  # by role
ARROW = "→"
_SCORE = (
    "score = predicted rise of the query's loss if the row is removed (negative: the row harms)"
)
_WIDEST_EPOCHS = 10


def caption_of(lines, *, order_only):
    """Text that explains what stands in the lines, and nothing else."""
    parts = [_SCORE]
    if order_only:
        parts = [f"{_SCORE}, order only: its size has no meaning"]
    if (lines["stands_out"] & (lines["role"] == "harmed")).any():
        parts.insert(0, f"bold: label {ARROW} suggested label of a harmful row")
    if has_epochs(lines):
        parts.append("epochs that contribute most of the score")
    return "; ".join(parts)


def has_epochs(lines):
    """True if any line names epochs: methods of the final model give none."""
    return bool((lines["epochs"] != "").any())


def lines_of(explanation, class_names, unit, query_names):
    """Table of the lines in drawing order: each query, then the rows that harmed and helped it.

    `query_names` is a dict from the position of a query to its name; others show their position.

    The columns are `role`, `query`, `name` (what the row is called), `train_row` (-1 for a query),
    `label`, `stands_out` (another label is predicted for the query or suggested for a harmful row),
    `score`, `epochs`, and `text`, which is written under an image.
    """
    lines = []
    for query, table in explanation.groupby("query", sort=False):
        lines.append(_query_line(query, query_names.get(query, query), table.iloc[0], class_names))
        for role, shown in (("harmed", table["rank"] > 0), ("helped", table["rank"] < 0)):
            rows = table[shown].sort_values("rank", key=abs, kind="stable")  # most extreme first
            lines += [_row_line(role, row, class_names, unit) for _, row in rows.iterrows()]
    return pd.DataFrame(lines)


def _query_line(query, name, row, class_names):
    label, wrong = "", False
    if "true_label" in row:
        true, predicted = class_texts([row["true_label"], row["predicted_label"]], class_names)
        label, wrong = f"true {true}, predicted {predicted}", true != predicted
    return {
        "role": "query",
        "query": query,
        "name": str(name),
        "train_row": -1,
        "label": label,
        "stands_out": wrong,
        "score": "",
        "epochs": "",
        "text": "\n".join([f"query {name}", *label.split(", ")]).strip(),
    }


def _row_line(role, row, class_names, unit):
    labels = [row["label"], row.get("most_helpful_label", row["label"])]
    label, suggested = class_texts(labels, class_names)
    suggests = role == "harmed" and suggested != label
    if suggests:
        label = f"{label} {ARROW} {suggested}"
    score = f"{row['score']:+.2g}".replace("-", "\N{MINUS SIGN}")
    epochs = str(row["epochs"])
    text = [f"row {row['train_row']}", f"label {label}", f"{score} {unit or ''}".strip()]
    if epochs:
        text.append(f"epoch{'s' * (not epochs.isdigit())} {_shortened(epochs)}")
    return {
        "role": role,
        "query": row["query"],
        "name": str(row["train_row"]),
        "train_row": row["train_row"],
        "label": label,
        "stands_out": suggests,
        "score": score,
        "epochs": epochs,
        "text": "\n".join(text),
    }


def _shortened(epochs):
    """Text of the first epochs, as many as fit under an image."""
    kept, *rest = epochs.split(", ")
    for part in rest:
        if len(kept) + len(part) > _WIDEST_EPOCHS:
            return f"{kept} …"
        kept = f"{kept}, {part}"
    return kept
