"""`review_page`: arrays in, one HTML file out."""

import base64
import hashlib
import json

import numpy as np

from sam_attribution._folders import user_path
from sam_attribution._rows import dataset_as_source
from sam_attribution.review._arguments import (
    check_n_rows,
    names_of,
    review_columns,
    texts_of,
)
from sam_attribution.review._content import content_of
from sam_attribution.review._page_labels import page_labels
from sam_attribution.review._row_identity import PageKey, row_ids
from sam_attribution.review._shown_values import (
    are_probabilities,
    best_labels,
    ranks,
    without_logarithm,
)
from sam_attribution.review._template import page


def review_page(
    path,
    X,
    *,
    given,
    suggested,
    scores,
    suspicious=None,
    probability_wrong=None,
    score_components=None,
    label_scores=None,
    classes=None,
    class_names=None,
    descriptions=None,
    ids=None,
    image_shape=None,
    n_rows=None,
    title="Label review",
):
    """Write a web page on which a person decides about labels.

    The page is one file that works without a network. It shows the rows, most suspicious first, and
    takes a decision for each: keep the label, change it, or remove the row. The decisions are kept
    in the browser and leave it as a CSV, which :func:`~sam_attribution.review.apply_decisions`
    reads.

    Parameters
    ----------
    path : str or path-like
        Of the HTML file. One that is there is written over.
    X : array-like, sparse matrix, tensor, DataFrame or Dataset of n_samples rows
        What a row is: an image if `X` has shape (n, height, width), (n, channels, height, width)
        or (n, height, width, channels) with 1, 3 or 4 channels, or if `image_shape` is given; a
        text if `X` is a list, array or Series of strings; else columns of a table. ``uint8`` pixels
        are drawn as they are, others from 0 to 1 if they lie there and from the lowest to the
        highest otherwise; the page says which. Of a Dataset only the rows on the page are read, and
        its items may be images of PIL, of any sizes.
    given : array-like of shape (n_samples,)
        Labels as they are: strings, numbers or booleans.
    suggested : array-like of shape (n_samples,)
        Label that fits best; the given one where nothing better is known.
    scores : array-like of shape (n_samples,)
        Lower is more suspicious. NaN: not judged; these rows come last.
    suspicious : array-like of bool of shape (n_samples,) or None, default=None
        Rows to look at. The page then opens with these.
    probability_wrong : array-like of shape (n_samples,) or None, default=None
        Probability of each given label to be wrong, shown beside the row; NaN: not judged.
    score_components : DataFrame, dict of str to array-like or None, default=None
        Columns of length n_samples that the score is made of; lower is more suspicious. They are
        drawn as ranks.
    label_scores : array-like of shape (n_samples, n_classes) or None, default=None
        How well the row fits each of the classes, higher is better. Rows that sum to one are shown
        as probabilities, and so are their logarithms.
    classes : array-like of shape (n_classes,) or None, default=None
        Labels to choose from, and those of the columns of `label_scores`. None: those in `given`
        and `suggested`, sorted.
    class_names : array-like of str of shape (n_classes,), dict or None, default=None
        What to call them on the page; a dict goes from label to name. The CSV holds the labels.
    descriptions : array-like of str of shape (n_samples,) or None, default=None
        A text to show beside each row.
    ids : array-like of shape (n_samples,) or None, default=None
        Names of the rows, each once, by which decisions find them in a table of another order.
        None: the index of `X`, if it has one.
    image_shape : tuple of int or None, default=None
        Shape of one row of `X` as an image.
    n_rows : int or None, default=None
        Show this many rows, the most suspicious ones. None: all, up to 100,000.
    title : str, default="Label review"
        Of the page.

    Returns
    -------
    pathlib.Path
        Of the file.

    Raises
    ------
    ValueError
        If the arguments do not fit one another, or `X` is nothing that can be shown.
    TypeError
        For labels that are not strings, numbers or booleans.

    Notes
    -----
    Nothing in the data becomes part of the page's code: texts are inserted as text, and a content
    security policy forbids all but the page's own script and any connection.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sam_attribution.review import review_page
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = review_page(
    ...         Path(folder) / "review.html",
    ...         ["a purring pet", "a barking pet"],
    ...         given=["cat", "cat"],
    ...         suggested=["cat", "dog"],
    ...         scores=[0.9, -0.4],
    ...     )
    ...     "a barking pet" in path.read_text()
    True
    """
    X = dataset_as_source(X)
    columns = review_columns(
        X,
        given=given,
        suggested=suggested,
        scores=scores,
        suspicious=suspicious,
        probability_wrong=probability_wrong,
        score_components=score_components,
        label_scores=label_scores,
    )
    n_samples = len(columns.scores)
    by_suspicion = np.argsort(columns.scores, kind="stable")  # NaN sorts last
    rows = by_suspicion[: check_n_rows(n_rows, n_samples)]
    labels, n_classes = page_labels(columns.given, columns.suggested, classes, class_names)
    content = content_of(X, rows, image_shape)
    ids_of_rows = row_ids(X, ids, n_samples)
    given_tokens = [labels.tokens[code] for code in labels.codes(columns.given)]
    data = {
        "n_samples": n_samples,
        "rows": _packed(rows, "<i4"),
        "labels": {"tokens": labels.tokens, "texts": labels.texts},
        "content": content.settings,
        "note": content.note,
        "descriptions": _taken(texts_of(descriptions, n_samples), rows),
        "index": _taken(names_of(X, ids), rows),
        "ids": _taken(ids_of_rows, rows),
        "page": PageKey.of(X, given_tokens, ids_of_rows).written(),
        **_packed_columns(columns, labels, n_classes, rows),
    }
    data["fingerprint"] = _page_hash(data, content.sheets)
    path = user_path(path, "path")
    path.write_text(page(str(title), data, content.sheets), encoding="utf-8", newline="\n")
    return path


def _packed_columns(columns, labels, n_classes, rows):
    """Return labels, scores, their components and the labels that fit, packed."""
    given = labels.codes(columns.given)
    components = columns.score_components.items()
    suspicious, wrong = columns.suspicious, columns.probability_wrong
    return {
        "given": _packed(given[rows], "<i4"),
        "suggested": _packed(labels.codes(columns.suggested)[rows], "<i4"),
        "scores": _packed(columns.scores[rows], "<f4"),
        "suspicious": None if suspicious is None else _packed(suspicious[rows], "u1"),
        "wrong": None if wrong is None else _packed(wrong[rows], "<f4"),
        "parts": [
            {"name": name, "ranks": _packed(ranks(v)[rows], "<i4")} for name, v in components
        ],
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
        "codes": _packed(codes, "<i4"),
        "values": _packed(np.nan_to_num(values), "<f4"),
        "lowest": _packed(np.where(has_values, lowest, 0), "<f4"),
        "are_probabilities": are_probabilities(every),
    }


def _packed(values, dtype):
    with np.errstate(over="ignore"):  # a score beyond float32 is shown as infinite
        return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _taken(texts, rows):
    return None if texts is None else [texts[row] for row in rows]


def _page_hash(data, sheets):
    """Return a hash of what the decisions are about: the rows, their labels and contents."""
    about = ("n_samples", "rows", "ids", "labels", "given", "content", "descriptions")
    digest = hashlib.sha256(json.dumps([data[name] for name in about]).encode())
    for sheet in sheets:
        digest.update(sheet.encode())
    return digest.hexdigest()[:16]
