"""Weights as if some rows had never been there, and whether they can be trusted."""

from sam_attribution.editing._bend import bend
from sam_attribution.editing._report import edit_report
from sam_attribution.editing._state import outputs, state_after
from sam_attribution.editing._verification import random_groups, verification

__all__ = ["bend", "edit_report", "outputs", "random_groups", "state_after", "verification"]
