"""The scikit-learn face of attribution."""

from sam_attribution.influence._estimator import is_frozen, net_of
from sam_attribution.influence._influence import SAMInfluence
from sam_attribution.influence._measure import Stopwatch
from sam_attribution.influence._methods import METHODS
from sam_attribution.influence._projected import Projected
from sam_attribution.influence._single_queries import single_queries

__all__ = [
    "METHODS",
    "Projected",
    "SAMInfluence",
    "Stopwatch",
    "is_frozen",
    "net_of",
    "single_queries",
]
