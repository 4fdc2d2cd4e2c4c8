"""The scikit-learn face of attribution."""

from sam_attribution.influence._influence import METHODS, SAMInfluence

__all__ = ["METHODS", "SAMInfluence"]
