"""What all the splits say together."""

import numpy as np
import pandas as pd

from sam_attribution.detection._judgement import OPTIONS


class Verdict:
    """The option that the held-out labels of all splits support most, and what follows.

    Parameters
    ----------
    judged : list of Judged

    Attributes
    ----------
    wrong_share : float
    transition : ndarray of shape (n_classes, n_classes)
        Means over the splits.
    """

    def __init__(self, judged):
        self._splits = [each.split for each in judged]
        self._judgements = [each.judgement for each in judged]
        self._option = int(sum(j.support for j in self._judgements).argmax())
        self._conclusions = [j.conclude(self._option) for j in self._judgements]
        self.wrong_share = float(np.mean([c.wrong_share for c in self._conclusions]))
        self.transition = np.mean([c.transition.numpy() for c in self._conclusions], axis=0)

    def of_rows(self, n_samples):
        """Table (n_samples, n_classes) and parts (n_samples, 2) of all rows.

        The mean over the splits trained on the row; where there is none, over those that held it
        out; NaN where there is none of these either.
        """
        pairs = list(zip(self._splits, self._conclusions, strict=True))
        trained = [(split.train, conclusion.trained) for split, conclusion in pairs]
        held_out = [(split.held_out, conclusion.held_out) for split, conclusion in pairs]
        result = _mean(trained, n_samples)
        missing = np.isnan(result[:, 0])
        if len(self._splits[0].held_out):
            result[missing] = _mean(held_out, n_samples)[missing]
        return result[:, :-2], result[:, -2:]

    def diagnostics(self):
        """A line per split."""
        labels, validation = OPTIONS[self._option]
        names = ["support_at_word", "support_clean", "support_as_noisy"]
        return pd.DataFrame(
            {
                "labels": labels,
                "validation": validation,
                **dict(zip(names, judgement.support / len(split.y), strict=True)),
                "wrong_share": conclusion.wrong_share,
                "n_train": len(split.train),
                "n_held_out": len(split.y),
                "seconds_judging": judgement.seconds,
            }
            for split, judgement, conclusion in zip(
                self._splits, self._judgements, self._conclusions, strict=True
            )
        )


def _mean(found, n_samples):
    """Mean of the evidence on each row, its table and parts side by side."""
    total, count = 0.0, np.zeros(n_samples)
    for rows, evidence in found:
        values = np.zeros((n_samples, evidence.table.shape[1] + 2))
        values[rows] = np.hstack([evidence.table.numpy(), evidence.parts.numpy()])
        total, count[rows] = total + values, count[rows] + 1
    with np.errstate(invalid="ignore"):
        return total / count[:, None]
