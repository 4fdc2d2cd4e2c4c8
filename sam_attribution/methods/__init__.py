"""Attribution methods: each a recipe for probes."""

from sam_attribution.methods._gif import GIF
from sam_attribution.methods._hif import HIF
from sam_attribution.methods._method import Method, Prepared

__all__ = ["GIF", "HIF", "Method", "Prepared"]
