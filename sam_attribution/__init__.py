"""Training rows that help or hurt a model trained with Sharpness-Aware Minimization."""

from sam_attribution._version import __version__ as __version__
from sam_attribution.detection import MislabelDetector
from sam_attribution.filtering import FilteredClassifier, MislabelFilter
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier, SAMNet, SAMRegressor
from sam_attribution.validation_data import ValidationData

__all__ = [
    "FilteredClassifier",
    "MislabelDetector",
    "MislabelFilter",
    "SAMClassifier",
    "SAMInfluence",
    "SAMNet",
    "SAMRegressor",
    "ValidationData",
]
