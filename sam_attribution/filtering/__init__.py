"""Train on the rows that help: score them, drop the lowest."""

from sam_attribution.filtering._classifier import FilteredClassifier
from sam_attribution.filtering._filter import MislabelFilter
