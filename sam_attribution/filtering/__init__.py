"""Train on the rows that help: score them, drop the lowest."""

from sam_attribution.filtering._classifier import FilteredClassifier
from sam_attribution.filtering._filter import MislabelFilter
from sam_attribution.filtering._scorer import default_scorer
from sam_attribution.filtering._selection import rows_to_keep

__all__ = ["FilteredClassifier", "MislabelFilter", "default_scorer", "rows_to_keep"]
