"""The choice of a noise model by the held-out labels, and what signals say under it."""

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax

from sam_attribution.detection._split_evidence import held_out_numbers
from sam_attribution.diagnosis import (
    AS_TRAINED,
    OTHER_RATE,
    SCALE_FEATURES,
    TRAIN_LONGER,
    what_helps,
)

_LEAST_ERROR = 1e-3  # nats: a constant tiny difference is no evidence
_SIGNIFICANT = 2.58  # standard errors: one in a hundred by chance, either way


class ModelChoice:
    """The noise model that fits the held-out labels best, and what signals say under it.

    Labels are taken as given unless the noise model fitted by EM makes the held-out labels more
    probable. Rows held out of the same data are as noisy as the rest. Labels of a
    ``ValidationData`` are trusted in three cases: they fit the classes significantly better than
    those trained on; or significantly worse, as right labels do under one-sided confusions, and
    clean fits them better than noisy under EM (rows of another kind fit worse as well); or the
    noise model by EM with clean labels fits them significantly better than both other models.

    Parameters
    ----------
    evidence : list of SplitEvidence
    trusted : bool or "auto"
        What the user knows about the labels of a ``ValidationData``.

    Attributes
    ----------
    trust : bool
        The labels of a ``ValidationData`` are taken as right.
    distrusts : bool
        The user left it open, and the labels of a ``ValidationData`` are not taken as right.
    agreement : float
        How much better these labels fit than those trained on, in standard errors.
    component_names : list of str
        Names of the columns of the score components.
    """

    def __init__(self, evidence, trusted="auto"):
        self._evidence = evidence
        self._splits = [each.trained.split for each in evidence]
        as_given, clean, noisy = torch.cat([each.likelihoods for each in evidence], dim=1)
        own = len(self._splits[0].held_out) == 0
        self.agreement = evidence[0].agreement if own else np.nan
        seems_right = own and bool(
            self.agreement > _SIGNIFICANT
            or (self.agreement < -_SIGNIFICANT and clean.sum() > noisy.sum())
            or _in_standard_errors(clean - torch.stack([as_given, noisy])).min() > _SIGNIFICANT
        )
        self.trust = seems_right if trusted == "auto" else trusted and own
        self.distrusts = own and trusted == "auto" and not seems_right
        candidates = [clean] if self.trust else [clean, noisy] if own else [noisy]
        best = max(candidates, key=torch.sum)
        self._gain = float(_in_standard_errors(best - as_given))
        self._by_em = self._gain > 0
        self._found = [each.result(by_em=self._by_em, trust=self.trust) for each in evidence]
        self.component_names = ["network", "classes", "trusted"][: 2 + self.trust]

    def of_rows(self, n_samples):
        """Return what the signals say at face value, and the score components.

        They are means of logarithms over the splits that trained on the row; where there is none,
        over those that held it out; NaN where there is none of these either.

        Returns
        -------
        log_p : ndarray of shape (n_rows, n_classes)
            Log-probability of each class, without the given label. Rows of a ``ValidationData``
            follow the samples.
        components : ndarray of shape (n_samples, 2 or 3)
        """
        tables = list(zip(self._splits, self._found, strict=True))
        trained = [(split.train, each) for split, (each, _) in tables]
        held_out = [(held_out_numbers(split, n_samples), each) for split, (_, each) in tables]
        n_rows = max(n_samples, 1 + max(rows.max(initial=0) for rows, _ in held_out))
        log_p = _filled("log_p", trained, held_out, n_rows)
        of_samples = [part for part in held_out if part[0].max(initial=0) < n_samples]
        components = _filled("components", trained, of_samples, n_samples)
        # a mean of logarithms does not sum to 1
        return log_softmax(log_p, axis=1), components

    def what_helps(self):
        """Sentence on what helps where the network learned little."""
        return what_helps(self._remedies(), self._evidence[0].trained.problem)

    @property
    def is_one_split(self):
        """True if one fraction of the rows is held out."""
        return len(self._splits) == 1 and len(self._splits[0].held_out) > 0

    def _remedies(self):
        """Remedies where the network learned nothing."""
        general = SCALE_FEATURES, TRAIN_LONGER, OTHER_RATE, AS_TRAINED
        if len(self._splits[0].held_out) == 0:
            return (*general, "pass more validation rows")
        if len(self._splits) == 1:
            return (*general, "hold out more rows: validation=5")
        return general

    def diagnostics(self):
        """Return a table with a row per split."""
        of_all = {
            "noise_model": "em" if self._by_em else "as given",
            "validation": "trusted" if self.trust else "as noisy",
            "agreement": self.agreement,
            "gain": self._gain,
        }
        return pd.DataFrame(
            of_all
            | {
                "n_train": len(split.train),
                "n_held_out": len(split.y),
                "seconds_scoring": evidence.seconds,
            }
            for split, evidence in zip(self._splits, self._evidence, strict=True)
        )


def _in_standard_errors(differences):
    """Mean over the last axis, divided by its standard error; NaN for a single difference."""
    if differences.shape[-1] == 1:
        return torch.full_like(differences[..., 0], torch.nan)
    spread = differences.std(-1) / differences.shape[-1] ** 0.5
    return differences.mean(-1) / spread.clamp_min(_LEAST_ERROR)


def _filled(name, tables, others, n_rows):
    """Mean (n_rows, n_columns) of a field of tables; of others for the rows that they lack."""
    found = _mean(name, tables, n_rows)
    missing = np.isnan(found[:, 0])
    if missing.any() and others:
        found[missing] = _mean(name, others, n_rows)[missing]
    return found


def _mean(name, tables, n_rows):
    n_columns = getattr(tables[0][1], name).shape[1]
    total, count = np.zeros((n_rows, n_columns)), np.zeros(n_rows)
    for rows, table in tables:
        total[rows] += getattr(table, name).numpy()
        count[rows] += 1
    with np.errstate(invalid="ignore"):
        total /= count[:, None]
    return total
