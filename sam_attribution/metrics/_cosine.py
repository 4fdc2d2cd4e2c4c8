"""Cosine of the angle between scores and truth."""

import numpy as np


def cosines(scores, truth):
    """Cosine along the last axis, over the entries where both have a number; NaN if one is 0."""
    both = ~(np.isnan(scores) | np.isnan(truth))
    scores, truth = np.where(both, scores, 0.0), np.where(both, truth, 0.0)
    lengths = np.linalg.norm(scores, axis=-1) * np.linalg.norm(truth, axis=-1)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return (scores * truth).sum(-1) / lengths
