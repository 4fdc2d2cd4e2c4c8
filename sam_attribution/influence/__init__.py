"""The scikit-learn face of attribution."""

from sam_attribution.influence._influence import SAMInfluence
from sam_attribution.influence._methods import METHODS
from sam_attribution.influence._single_queries import single_queries

__all__ = ["METHODS", "SAMInfluence", "single_queries"]
