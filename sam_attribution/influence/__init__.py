"""The scikit-learn face of attribution."""

from sam_attribution.influence._attribution import Attribution
from sam_attribution.influence._influence import SAMInfluence
from sam_attribution.influence._methods import METHODS
