"""Judgement of class labels by the evidence of all splits."""

import numpy as np
import pandas as pd
import torch

from sam_attribution._warnings import warn
from sam_attribution.detection._doubts import (
    warn_of_distrust,
    warn_of_lost_classes,
    warn_of_unknown_share,
    warn_of_weak_evidence,
)
from sam_attribution.detection._label_skill import LabelSkill
from sam_attribution.detection._model_choice import ModelChoice
from sam_attribution.detection._new_rows import NewRows
from sam_attribution.detection._probabilities import log_odds
from sam_attribution.detection._probability_wrong import (
    following_scores,
    label_log_probabilities,
    wrong_by_class,
)
from sam_attribution.detection._untouched_scores import noise_of


class LabelJudge:
    """How suspicious labels are, and how probable it is that they are wrong.

    Parameters
    ----------
    evidence : list of SplitEvidence
    y : ndarray of shape (n_samples,)
        Labels as they were given.
    sample_weight : array-like of shape (n_samples,) or None
    trusted : bool or "auto"

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    scores, probability_wrong : ndarray of shape (n_samples,)
        NaN for rows of no split.
    label_log_proba : ndarray of shape (n_samples, n_classes)
    suggestions : ndarray of shape (n_samples,)
    interval : tuple of float
    transition : ndarray of shape (n_classes, n_classes)
    none_wrong : float
        Probability that no label is wrong.
    has_skill : bool
        The labels are told better than by chance.
    """

    def __init__(self, evidence, y, sample_weight, trusted):
        self._evidence, self._y = evidence, y
        self._choice = ModelChoice(evidence, trusted)
        self._noise = noise_of(evidence, len(y), sample_weight, self._choice.trust)
        self._skill = LabelSkill(self._noise, [each.by_network for each in evidence])
        net = evidence[0].trained.net
        self.classes, self._of_class = net.classes_, net.logit_of_class
        self._codes = np.searchsorted(self.classes, y)
        self.transition = self._noise.transition[np.ix_(self._of_class, self._of_class)]
        self.interval, self.none_wrong = self._noise.interval, self._noise.none_wrong
        self.has_skill = not self._skill.is_chance
        at_face_value, self._components = self._choice.of_rows(len(y))
        ranking = self._noise.ranking(at_face_value)[: len(y), self._of_class]
        self.scores = log_odds(torch.as_tensor(ranking), torch.as_tensor(self._codes)).numpy()
        self.probability_wrong = following_scores(self._wrong(), self.scores)
        self.label_log_proba = label_log_probabilities(ranking, self._codes, self.probability_wrong)
        best = np.nan_to_num(self.label_log_proba, nan=-np.inf).argmax(1)
        self.suggestions = np.where(np.isnan(self.probability_wrong), y, self.classes[best])

    def _wrong(self):
        """Probability (n_samples,) that labels are wrong, before it follows the scores."""
        rows = np.arange(len(self._y))
        return 1 - self._noise.posterior()[: len(rows), self._of_class][rows, self._codes]

    def components(self, index):
        """Return a table of what each signal alone says of the given labels."""
        return pd.DataFrame(self._components, index, self._choice.component_names)

    def diagnostics(self):
        """Return a table with a row per split."""
        by_class = wrong_by_class(self.probability_wrong, self._y)
        of_all = [by_class] * len(self._evidence)
        table = self._choice.diagnostics()
        return table.assign(skill=self._skill.of_splits, wrong_by_class=of_all)

    def new_rows(self):
        """Return what judges rows that were not in ``fit``."""
        return NewRows(self._evidence, self._noise, len(self._y))

    def warn_of_scores(self):
        """Warn where scores are weak evidence, or validation labels are not taken as right."""
        if self._choice.distrusts:
            warn_of_distrust(self._choice.agreement)
        found = self.probability_wrong, self.scores
        warn_of_weak_evidence(self._skill, *found, self._choice.what_helps)

    def warn_of_count(self, share, suspicious):
        """Warn where the share of wrong labels, or the rows called suspicious, are in doubt."""
        if self.has_skill:
            how = {"trust": self._choice.trust, "is_one_split": self._choice.is_one_split}
            warn_of_unknown_share(share, self._noise, **how)
        warn_of_lost_classes(self._y, suspicious, "issues_")
        if self.has_skill and not all(each.untouched for each in self._evidence):
            warn(
                f"contamination_={share:.3g} is too small if the network has memorised wrong "
                "labels: no state from before its training is known, and the rows hold no "
                "floating-point numbers. Look at rows in the order of scores_, give the untrained "
                "weights as a checkpoint, or set contamination."
            )
