"""`review_page`: arrays in, one HTML file out."""

import numpy as np

from sam_attribution._folders import naming_path, user_path
from sam_attribution._row_order import check_order
from sam_attribution._rows import dataset_as_source
from sam_attribution.review._arguments import (
    check_n_rows,
    names_of,
    review_columns,
    texts_of,
)
from sam_attribution.review._content import content_of
from sam_attribution.review._earlier_decisions import earlier_decisions, for_page
from sam_attribution.review._page_data import fingerprint, packed, packed_columns, taken
from sam_attribution.review._page_labels import page_labels
from sam_attribution.review._row_identity import PageKey, row_ids
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
    columns=None,
    n_rows=None,
    decisions=None,
    title="Label review",
):
    """Write a web page for the review of labels.

    The page is one file that works without a network. It shows the rows, most suspicious first. The
    reviewer keeps the label, changes it, removes the row, or marks it as unsure. The browser keeps
    the decisions and exports them as CSV, which :func:`~sam_attribution.review.apply_decisions`
    reads.

    Parameters
    ----------
    path : str or path-like
        Path of the HTML file. An existing file is overwritten.
    X : array-like, sparse matrix, tensor, DataFrame or Dataset of n_samples rows
        Rows to show. They are images if `X` has shape (n, height, width), (n, channels, height,
        width) or (n, height, width, channels) with 1, 3 or 4 channels, if `image_shape` is given,
        or if `X` is a list or Series of PIL images or paths of image files. Other strings are
        texts; everything else is a table. ``uint8`` pixels are drawn unchanged, other pixels from 0
        to 1 if they lie there, else from the lowest to the highest; the page says which. Only the
        shown rows of a Dataset are read; its items may be PIL images of any size.
    given : array-like of shape (n_samples,)
        Given labels: strings, numbers or booleans.
    suggested : array-like of shape (n_samples,)
        Suggested label; the given one if there is no better.
    scores : array-like of shape (n_samples,)
        Scores; lower is more suspicious. Rows with NaN were not judged and come last.
    suspicious : array-like of bool of shape (n_samples,) or None, default=None
        True for rows to review first. The page opens with them.
    probability_wrong : array-like of shape (n_samples,) or None, default=None
        Probability that each given label is wrong, shown beside the row; NaN if not judged.
    score_components : DataFrame, dict of str to array-like or None, default=None
        Parts of the score, each of length n_samples; lower is more suspicious. They are drawn as
        ranks.
    label_scores : array-like of shape (n_samples, n_classes) or None, default=None
        Fit of each class to the row; higher is better. Rows that sum to one, and logarithms of such
        rows, are shown as probabilities.
    classes : array-like of shape (n_classes,) or None, default=None
        Labels to choose from, in the order of the columns of `label_scores`. None takes the sorted
        labels in `given` and `suggested`.
    class_names : array-like of str of shape (n_classes,), dict or None, default=None
        Names of the classes on the page; a dict goes from label to name. The CSV holds the labels.
    descriptions : array-like of str of shape (n_samples,) or None, default=None
        Text to show beside each row.
    ids : array-like of shape (n_samples,) or None, default=None
        Unique names of the rows, so that decisions can be applied to a table in another order. None
        takes the index of `X`, if it has one.
    image_shape : tuple of int or None, default=None
        Shape of one row of `X` as an image.
    columns : list or None, default=None
        Columns of a table to show, in this order. None shows all; each row of a table with more
        than 24 columns shows the 24 in which it is most unusual.
    n_rows : int or None, default=None
        Number of rows to show, the most suspicious first, beside those in `decisions`. None shows
        all, up to 100,000.
    decisions : path-like, str, file or DataFrame, default=None
        Decisions about these rows, as an earlier page exported them. The page opens with the rows
        that are still undecided, shows the decided ones on demand, and exports all decisions.
    title : str, default="Label review"
        Title of the page.

    Returns
    -------
    pathlib.Path
        Path of the file.

    Raises
    ------
    ValueError
        If the arguments do not fit one another, or `X` cannot be shown.
    TypeError
        For labels that are not strings, numbers or booleans.

    Notes
    -----
    The data cannot run as code: texts are inserted as text, and a content security policy allows
    only the page's own script and no connection.

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
    path = user_path(path, "path")
    X = dataset_as_source(X)
    judged = review_columns(
        X,
        given=given,
        suggested=suggested,
        scores=scores,
        suspicious=suspicious,
        probability_wrong=probability_wrong,
        score_components=score_components,
        label_scores=label_scores,
    )
    n_samples = len(judged.scores)
    check_order(X=X, descriptions=descriptions)
    ids_of_rows = row_ids(X, ids, n_samples)
    known, _ = page_labels(judged.given, judged.suggested, classes, class_names)
    earlier = earlier_decisions(decisions, X, judged.given, ids_of_rows, known.values)
    labels, n_classes = page_labels(
        judged.given, judged.suggested, classes, class_names, [d.label for d in earlier]
    )
    places, rows = _rows_on_page(judged.scores, n_rows, [d.row for d in earlier])
    content = content_of(X, rows, image_shape, columns)
    given_tokens = [labels.tokens[code] for code in labels.codes(judged.given)]
    data = {
        "n_samples": n_samples,
        "rows": packed(rows, "<i4"),
        "places": packed(places, "<i4"),
        "labels": {"tokens": labels.tokens, "texts": labels.texts},
        "content": content.settings,
        "note": content.note,
        "descriptions": taken(texts_of(descriptions, n_samples), rows),
        "index": taken(names_of(X, ids), rows),
        "ids": taken(ids_of_rows, rows),
        "page": PageKey.of(X, given_tokens, ids_of_rows).written(),
        "decided": for_page(earlier),
        **packed_columns(judged, labels, n_classes, rows),
    }
    data["fingerprint"] = fingerprint(data, content.sheets)
    with naming_path("path", path):
        path.write_text(page(str(title), data, content), encoding="utf-8", newline="\n")
    return path


def _rows_on_page(scores, n_rows, decided):
    """Return places in the order of suspicion, from 1, and positions of the rows to show."""
    order = np.argsort(scores, kind="stable")  # NaN sorts last
    is_decided = np.isin(order, decided)
    n_shown = check_n_rows(n_rows, len(scores))
    places = np.flatnonzero(is_decided | (np.cumsum(~is_decided) <= n_shown))
    return places + 1, order[places]
