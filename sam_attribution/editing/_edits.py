"""The rows that an edited model was trained without, and those with other labels."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Edits:
    """Positions in a problem of the rows that are removed, and of those with other `labels`.

    The `labels` are in the form of those given to ``fit``.
    """

    removed: tuple = ()
    relabelled: tuple = ()
    labels: tuple = ()

    @property
    def rows(self):
        """Positions of all rows that are edited."""
        return np.array([*self.removed, *self.relabelled], dtype=int)

    def without(self, rows):
        """These edits, and `rows` removed."""
        kept = self._labels_of_others(rows)
        return replace(kept, removed=(*self.removed, *_numbers(rows)))

    def with_labels(self, rows, labels):
        """These edits, and `labels` for rows, which may have had others."""
        kept = self._labels_of_others(rows)
        return replace(
            kept,
            relabelled=(*kept.relabelled, *_numbers(rows)),
            labels=(*kept.labels, *labels),
        )

    def _labels_of_others(self, rows):
        rows = set(_numbers(rows))
        pairs = zip(self.relabelled, self.labels, strict=True)
        kept = [(row, label) for row, label in pairs if row not in rows]
        return replace(
            self,
            relabelled=tuple(row for row, _ in kept),
            labels=tuple(label for _, label in kept),
        )


def _numbers(rows):
    return [int(row) for row in rows]
