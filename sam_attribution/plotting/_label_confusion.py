"""LabelConfusionDisplay: counts of given and suggested labels."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from sam_attribution._class_names import class_texts
from sam_attribution._row_order import check_results
from sam_attribution._validation import check_column, check_mask
from sam_attribution.plotting._axes import axes_for, name_columns
from sam_attribution.plotting._display import Display
from sam_attribution.plotting._display_arguments import fitted_attributes

_MOST_CLASSES_WITH_NUMBERS = 30


class LabelConfusionDisplay(Display):
    """Table of the number of rows with each given and each suggested label.

    Parameters
    ----------
    given : array-like of shape (n_samples,)
        Labels in the data.
    suggested : array-like of shape (n_samples,)
        Labels suggested instead.
    suspicious : array-like of bool, shape (n_samples,), default=None
        Mask of the rows to count; None counts all.
    classes : array-like, default=None
        Labels to show, in this order. None shows all labels that occur, sorted.
    class_names : sequence or dict, default=None
        Names in the order of `classes`, or a dict from label to name. None shows the labels.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    counts_ : DataFrame of shape (n_classes, n_classes)
        Counts; the index holds given labels, the columns suggested ones.
    image_ : AxesImage
    texts_ : list of Text
        Numbers in the cells, in bold where another label is suggested; zeros are not written,
        and neither are numbers for more than 30 classes.

    Examples
    --------
    >>> from sam_attribution.plotting import LabelConfusionDisplay
    >>> display = LabelConfusionDisplay.from_predictions(
    ...     ["cat", "cat", "dog"],
    ...     ["dog", "dog", "dog"],
    ...     suspicious=[True, True, False],
    ... )
    >>> display.counts_.to_numpy()
    array([[0, 2],
           [0, 0]])
    """

    def __init__(self, given, suggested, *, suspicious=None, classes=None, class_names=None):
        self.given = given
        self.suggested = suggested
        self.suspicious = suspicious
        self.classes = classes
        self.class_names = class_names

    @classmethod
    def from_predictions(
        cls, given, suggested, *, suspicious=None, classes=None, class_names=None, ax=None
    ):
        """Count the pairs of labels, and draw them.

        Parameters
        ----------
        given, suggested, suspicious, classes, class_names
            As for the class.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        LabelConfusionDisplay

        Raises
        ------
        ValueError
            If lengths differ.
        """
        settings = {"suspicious": suspicious, "classes": classes, "class_names": class_names}
        return cls(given, suggested, **settings).plot(ax=ax)

    @classmethod
    def from_estimator(cls, detector, *, rows="suspicious", class_names=None, ax=None):
        """Draw the labels that a fitted detector suggests.

        Parameters
        ----------
        detector : estimator
            Fitted estimator with ``given_labels_``, ``suggested_labels_``, ``suspicious_`` and
            ``classes_``, such as a MislabelDetector.
        rows : {"suspicious", "all"}, default="suspicious"
            Rows to count.
        class_names : sequence or dict, default=None
            Names in the order of ``classes_``, or a dict from label to name.
        ax : Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        LabelConfusionDisplay

        Raises
        ------
        NotFittedError
            If the detector lacks one of these attributes.
        ValueError
            If `rows` is something else, or the detector is that of a regression: it has no classes.
        """
        if rows not in ("suspicious", "all"):
            raise ValueError(f'rows must be "suspicious" or "all", got {rows!r}.')
        names = ["given_labels_", "suggested_labels_", "suspicious_", "classes_"]
        given, suggested, suspicious, classes = fitted_attributes(detector, names)
        return cls.from_predictions(
            given,
            suggested,
            suspicious=suspicious if rows == "suspicious" else None,
            classes=classes,
            class_names=class_names,
            ax=ax,
        )

    def _plot(self, ax):
        self.counts_ = self._count()
        classes = self.counts_.index
        names = class_texts(classes, self.class_names, classes)
        side = 2.6 + 0.42 * min(max(len(names), 4), _MOST_CLASSES_WITH_NUMBERS)
        (self.ax_,) = axes_for(ax, 1, size=(side + 0.4, side))
        counts = self.counts_.to_numpy()
        self.image_ = self.ax_.imshow(counts, cmap="Blues", vmin=0, vmax=max(counts.max(), 1))
        self.texts_ = _write(self.ax_, counts)
        if not self.texts_:
            self.ax_.figure.colorbar(self.image_, ax=self.ax_, label="rows")
        self._label(names, counts)

    def _count(self):
        found = {"suggested": self.suggested, "suspicious": self.suspicious}
        check_results({"given": self.given}, **found)
        given = check_column(self.given, "given")
        suggested = check_column(self.suggested, "suggested", len(given))
        classes = np.union1d(given, suggested) if self.classes is None else self.classes
        if self.suspicious is not None:
            counted = check_mask(self.suspicious, "suspicious", len(given))
            given, suggested = given[counted], suggested[counted]
        counts = np.zeros((len(classes), len(classes)), dtype=int)
        if len(given):
            counts = confusion_matrix(given, suggested, labels=classes)
        index = pd.Index(classes, name="given")
        return pd.DataFrame(counts, index=index, columns=pd.Index(classes, name="suggested"))

    def _label(self, names, counts):
        which = "" if self.suspicious is None else "suspicious "
        title = [f"{counts.sum()} {which}rows: which label instead?"]
        if any(text.get_fontweight() == "bold" for text in self.texts_):
            title.append("bold: another label is suggested")
        if counts.trace():
            title.append(f"diagonal: the given label stays, {counts.trace()} rows")
        self.ax_.set_title("\n".join(title), fontsize="medium")
        self.ax_.set(xlabel="suggested label", ylabel="given label")
        name_columns(self.ax_, names)
        self.ax_.set_yticks(range(len(names)), names, parse_math=False)
        self.ax_.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
        self.ax_.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
        self.ax_.grid(which="minor", color="0.9", linewidth=0.6)
        self.ax_.tick_params(which="minor", length=0)


def _write(ax, counts):
    """Texts of the numbers in their cells, white on dark cells."""
    if len(counts) > _MOST_CLASSES_WITH_NUMBERS:
        return []
    return [
        ax.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            color="white" if counts[row, column] > 0.6 * counts.max() else "black",
            fontweight="normal" if row == column else "bold",
        )
        for row, column in np.argwhere(counts)
    ]
