"""Detection of wrong labels."""

from sam_attribution.detection._detector import MislabelDetector
