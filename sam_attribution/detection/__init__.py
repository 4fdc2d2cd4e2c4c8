"""Finding wrong labels, and acting on what a person decided about them."""

from sam_attribution.detection._decisions import apply_decisions
from sam_attribution.detection._detector import MislabelDetector

__all__ = ["MislabelDetector", "apply_decisions"]
