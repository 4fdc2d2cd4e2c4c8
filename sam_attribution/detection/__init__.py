"""Find wrong labels, and take the decisions of a person about them."""

from sam_attribution.detection._decisions import apply_decisions

__all__ = ["apply_decisions"]
