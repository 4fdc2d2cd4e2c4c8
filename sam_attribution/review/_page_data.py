"""Columns of the page, packed for its script."""

import base64
import hashlib
import json

import numpy as np

from sam_attribution.review._shown_values import (
    are_probabilities,
    best_labels,
    ranks,
    without_logarithm,
)


def packed_columns(columns, labels, n_classes, rows):
    """Return labels, scores, their components and the labels that fit, packed."""
    given = labels.codes(columns.given)
    components = columns.score_components.items()
    suspicious, wrong = columns.suspicious, columns.probability_wrong
    return {
        "given": packed(given[rows], "<i4"),
        "suggested": packed(labels.codes(columns.suggested)[rows], "<i4"),
        "scores": packed(columns.scores[rows], "<f4"),
        "suspicious": None if suspicious is None else packed(suspicious[rows], "u1"),
        "n_suspicious": None if suspicious is None else int(suspicious.sum()),
        "wrong": None if wrong is None else packed(wrong[rows], "<f4"),
        "parts": [{"name": name, "ranks": packed(ranks(v)[rows], "<i4")} for name, v in components],
        "fits": None if columns.label_scores is None else _fits(columns, given, n_classes, rows),
    }


def _fits(columns, given, n_classes, rows):
    every = without_logarithm(columns.label_scores)
    label_scores = every[rows]
    if label_scores.shape[1] != n_classes:
        raise ValueError(
            f"label_scores must have one column for each of the {n_classes} classes, got "
            f"{label_scores.shape[1]}. Say with classes what the columns stand for."
        )
    codes, values = best_labels(label_scores, np.where(given < n_classes, given, -1)[rows])
    has_values = ~np.isnan(label_scores).all(axis=1)
    lowest = np.min(label_scores, axis=1, where=~np.isnan(label_scores), initial=np.inf)
    return {
        "codes": packed(codes, "<i4"),
        "values": packed(np.nan_to_num(values), "<f4"),
        "lowest": packed(np.where(has_values, lowest, 0), "<f4"),
        "are_probabilities": are_probabilities(every),
    }


def packed(values, dtype):
    """Return the bytes of an array in base64."""
    with np.errstate(over="ignore"):  # a score beyond float32 is shown as infinite
        return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def taken(texts, rows):
    """Return the texts of some rows, or None without texts."""
    return None if texts is None else [texts[row] for row in rows]


def fingerprint(data, sheets):
    """Return a hash of the table: its rows, their labels and ids, in any order of suspicion.

    The browser keeps decisions under it. Rows that are read from a Dataset have no hash of their
    own; then what is shown counts.
    """
    about = [data["n_samples"], data["page"]]
    if data["page"].endswith("-0"):
        about += [data[name] for name in ("rows", "content", "descriptions")]
    digest = hashlib.sha256(json.dumps(about).encode())
    for sheet in sheets if len(about) > 2 else ():
        digest.update(sheet.encode())
    return digest.hexdigest()[:16]
