"""Finding wrong labels, and acting on what a person decided about them."""

from sam_attribution.detection._detector import MislabelDetector

__all__ = ["MislabelDetector"]
