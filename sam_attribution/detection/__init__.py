"""Detection of wrong labels."""

from sam_attribution.detection._detector import MislabelDetector
from sam_attribution.detection._label_issues import label_issues

__all__ = ["label_issues"]
