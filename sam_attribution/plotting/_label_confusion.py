"""Which labels are suggested in place of which."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from sam_attribution._class_names import class_texts
from sam_attribution._validation import check_column, check_mask
from sam_attribution.plotting._axes import axes_for
from sam_attribution.plotting._fitted import learnt

_MOST_CLASSES_WITH_NUMBERS = 30


class LabelConfusionDisplay:
    """How many rows with each given label get each suggested label.

    Parameters
    ----------
    given : array-like of shape (n_samples,)
        Labels in the data.
    suggested : array-like of shape (n_samples,)
        Labels proposed for them.
    suspicious : array-like of bool, shape (n_samples,), default=None
        Count these rows only; None counts all.
    classes : array-like, default=None
        Which labels to show, in this order. None: all that occur, sorted.
    class_names : sequence or dict, default=None
        Names in the order of `classes`, or by label. None shows the labels.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    counts_ : DataFrame of shape (n_classes, n_classes)
        Index: given; columns: suggested.
    image_ : AxesImage
    texts_ : list of Text
        The numbers; none are written for 0, nor for more than 30 classes.

    Examples
    --------
    >>> from sam_attribution.plotting import LabelConfusionDisplay
    >>> display = LabelConfusionDisplay.from_predictions(
    ...     ["cat", "cat", "dog"], ["dog", "dog", "dog"], suspicious=[True, True, False]
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
        """Count and draw.

        Parameters
        ----------
        given, suggested, suspicious, classes, class_names
            As for the class.
        ax : Axes or None, default=None
            None makes a figure.

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
        """Draw what a fitted detector suggests.

        Parameters
        ----------
        detector : estimator
            With ``given_labels_``, ``suggested_labels_``, ``suspicious_`` and ``classes_``, such
            as a fitted MislabelDetector.
        rows : {"suspicious", "all"}, default="suspicious"
            What to count.
        class_names : sequence or dict, default=None
            Names in the order of ``classes_``, or by label.
        ax : Axes or None, default=None
            None makes a figure.

        Returns
        -------
        LabelConfusionDisplay

        Raises
        ------
        NotFittedError
            If one of these is missing.
        ValueError
            For other `rows`.
        """
        if rows not in ("suspicious", "all"):
            raise ValueError(f'rows must be "suspicious" or "all", got {rows!r}.')
        names = ["given_labels_", "suggested_labels_", "suspicious_", "classes_"]
        given, suggested, suspicious, classes = learnt(detector, names)
        return cls.from_predictions(
            given,
            suggested,
            suspicious=suspicious if rows == "suspicious" else None,
            classes=classes,
            class_names=class_names,
            ax=ax,
        )

    def plot(self, ax=None):
        """Draw it.

        Parameters
        ----------
        ax : Axes or None, default=None
            None makes a figure.

        Returns
        -------
        LabelConfusionDisplay
        """
        self.counts_ = self._count()
        classes = self.counts_.index
        names = class_texts(classes, self.class_names, classes)
        side = 2.6 + 0.42 * min(max(len(names), 4), _MOST_CLASSES_WITH_NUMBERS)
        (self.ax_,) = axes_for(ax, 1, size=(side + 0.4, side))
        self.figure_ = self.ax_.figure
        counts = self.counts_.to_numpy()
        self.image_ = self.ax_.imshow(counts, cmap="Blues", vmin=0, vmax=max(counts.max(), 1))
        self.texts_ = _write(self.ax_, counts)
        if not self.texts_:
            self.figure_.colorbar(self.image_, ax=self.ax_, label="rows")
        self._label(names, counts)
        return self

    def _count(self):
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
        stays = f"\n(diagonal: the given label stays, {counts.trace()} rows)"
        self.ax_.set_title(
            f"{counts.sum()} {which}rows: which label instead?{stays * bool(counts.trace())}",
            fontsize="medium",
        )
        self.ax_.set(xlabel="suggested label", ylabel="given label")
        turned = max(map(len, names)) > 4
        self.ax_.set_xticks(
            range(len(names)),
            names,
            rotation=45 if turned else 0,
            ha="right" if turned else "center",
            rotation_mode="anchor" if turned else "default",
            parse_math=False,
        )
        self.ax_.set_yticks(range(len(names)), names, parse_math=False)
        self.ax_.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
        self.ax_.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
        self.ax_.grid(which="minor", color="0.9", linewidth=0.6)
        self.ax_.tick_params(which="minor", length=0)


def _write(ax, counts):
    """The numbers in their cells, white on dark."""
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
