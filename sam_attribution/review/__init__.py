"""The label review page: arrays in, one HTML file out, and the decisions back."""

from sam_attribution.review._decisions import apply_decisions
from sam_attribution.review._page import review_page
from sam_attribution.review._written_labels import label_token

__all__ = [
    "apply_decisions",
    "label_token",
    "review_page",
]
