"""The label review page: arrays in, one HTML file out."""

from sam_attribution.report._labels import label_token
from sam_attribution.report._page import review_page

__all__ = ["label_token", "review_page"]
