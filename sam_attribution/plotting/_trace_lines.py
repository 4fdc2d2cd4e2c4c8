"""Lines of TraceDisplay: labels, score and epochs of queries and training rows."""

import pandas as pd

from sam_attribution._class_names import class_texts
from sam_attribution.plotting._axes import BLUE, VERMILLION

COLOURS = {"query": "black", "harmed": VERMILLION, "helped": BLUE}  # by role
ARROW = "→"
CAPTION = (
    f"bold: label {ARROW} suggested label of a harmful row; score = predicted rise of the query's "
    "loss if the row is removed (negative: the row harms); epochs that contribute most of the score"
)
_WIDEST_EPOCHS = 10


def lines_of(explanation, class_names, unit):
    """Table of the lines in drawing order: each query, then the rows that harmed and helped it.

    The columns are `role`, `query`, `train_row` (-1 for a query), `label`, `stands_out` (another
    label is predicted for the query or suggested for a harmful row), `score`, `epochs`, and
    `text`, which is written under an image.
    """
    lines = []
    for query, table in explanation.groupby("query", sort=False):
        lines.append(_query_line(query, table.iloc[0], class_names))
        for role, shown in (("harmed", table["rank"] > 0), ("helped", table["rank"] < 0)):
            rows = table[shown].sort_values("rank", key=abs, kind="stable")  # most extreme first
            lines += [_row_line(role, row, class_names, unit) for _, row in rows.iterrows()]
    return pd.DataFrame(lines)


def _query_line(query, row, class_names):
    label, wrong = "", False
    if "true_label" in row:
        true, predicted = class_texts([row["true_label"], row["predicted_label"]], class_names)
        label, wrong = f"true {true}, predicted {predicted}", true != predicted
    return {
        "role": "query",
        "query": query,
        "train_row": -1,
        "label": label,
        "stands_out": wrong,
        "score": "",
        "epochs": "",
        "text": "\n".join([f"query {query}", *label.split(", ")]).strip(),
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
