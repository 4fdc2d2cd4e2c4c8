"""How the labels are to be taken, and what all the splits say then."""

import warnings

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax

_HARDLY_BETTER = 1.3  # standard errors: right features pass through much noise, none by chance
_LEAST_ERROR = 1e-3  # nats: what is always the same tiny difference is no evidence
_SIGNIFICANT = 2.58  # standard errors: one in a hundred by chance, either way


class Verdict:
    """The account that the held-out labels ask for, and what follows from it.

    Labels are taken at their word unless the corrected account makes the held-out ones more
    probable. Rows held out of the same data are as noisy as the rest. Labels of a
    ``ValidationData`` are trusted if they fit the classes significantly better than those trained
    on; or worse, as right labels do where confusions are one-sided, but rows of another kind
    as well, so that clean must suit the corrected account better than noisy; or if they ask
    significantly for the corrected account with clean labels.

    Parameters
    ----------
    judged : list of Judged

    Attributes
    ----------
    wrong_share : float
    transition : ndarray of shape (n_classes, n_classes)
        Means over the splits.
    witnesses : list of str
        Names of the parts.
    """

    def __init__(self, judged):
        self._splits = [each.split for each in judged]
        self._judgements = [each.judgement for each in judged]
        word, clean, noisy = torch.cat([j.likelihoods for j in self._judgements], dim=1)
        own = len(self._splits[0].held_out) == 0
        self._agreement = self._judgements[0].agreement if own else np.nan
        self._trust = own and bool(
            self._agreement > _SIGNIFICANT
            or (self._agreement < -_SIGNIFICANT and clean.sum() > noisy.sum())
            or _in_standard_errors(clean - torch.stack([word, noisy])).min() > _SIGNIFICANT
        )
        self._warn_if_nothing_was_learnt(word)
        candidates = [clean] if self._trust else [clean, noisy] if own else [noisy]
        best = max(candidates, key=torch.sum)
        self._gain = float(_in_standard_errors(best - word))
        self._correct = self._gain > 0
        self._conclusions = [
            j.conclude(correct=self._correct, trust=self._trust) for j in self._judgements
        ]
        self.witnesses = ["network", "classes", "trusted"][: 2 + self._trust]
        self.wrong_share = float(np.mean([c.wrong_share for c in self._conclusions]))
        self.transition = np.mean([c.transition.numpy() for c in self._conclusions], axis=0)

    def of_rows(self, n_samples):
        """Table (n_samples, n_classes) and parts (n_samples, n_parts) of all rows.

        The mean (of logarithms) over the splits trained on the row; where there is none, over
        those that held it out; NaN where there is none of these either.
        """
        pairs = list(zip(self._splits, self._conclusions, strict=True))
        trained = [(split.train, conclusion.trained) for split, conclusion in pairs]
        result = _mean(trained, n_samples)
        missing = np.isnan(result[:, 0])
        if missing.any():
            held_out = [(split.held_out, conclusion.held_out) for split, conclusion in pairs]
            result[missing] = _mean(held_out, n_samples)[missing]
        table, parts = np.split(result, [len(self.transition)], axis=1)
        return log_softmax(table, axis=1), parts  # a mean of logarithms does not sum to 1

    def _warn_if_nothing_was_learnt(self, likelihoods):
        sizes = torch.cat([j.log_likelihood_of_sizes for j in self._judgements])
        if _in_standard_errors(likelihoods - sizes) < _HARDLY_BETTER:
            warnings.warn(
                "The network's features tell the held-out labels hardly better than the sizes of "
                "the classes do, so scores say little. Scale the features, train longer, change "
                "lr, or hold out more rows: validation=StratifiedKFold(5, shuffle=True).",
                stacklevel=4,
            )

    def diagnostics(self):
        """A line per split."""
        of_all = {
            "labels": "corrected" if self._correct else "at their word",
            "validation": "trusted" if self._trust else "as noisy",
            "agreement": self._agreement,
            "gain": self._gain,
        }
        return pd.DataFrame(
            of_all
            | {
                "wrong_share": conclusion.wrong_share,
                "n_train": len(split.train),
                "n_held_out": len(split.y),
                "seconds_judging": judgement.seconds,
            }
            for split, judgement, conclusion in zip(
                self._splits, self._judgements, self._conclusions, strict=True
            )
        )


def _in_standard_errors(differences):
    """Mean over the last axis, divided by its standard error; NaN for a single difference."""
    if differences.shape[-1] == 1:
        return torch.full_like(differences[..., 0], torch.nan)
    spread = differences.std(-1) / differences.shape[-1] ** 0.5
    return differences.mean(-1) / spread.clamp_min(_LEAST_ERROR)


def _mean(found, n_samples):
    """Mean of the evidence on each row, its table and parts side by side."""
    total, count = 0.0, np.zeros(n_samples)
    for rows, evidence in found:
        both = np.hstack([evidence.table.numpy(), evidence.parts.numpy()])
        values = np.zeros((n_samples, both.shape[1]))
        values[rows] = both
        total, count[rows] = total + values, count[rows] + 1
    with np.errstate(invalid="ignore"):
        return total / count[:, None]
