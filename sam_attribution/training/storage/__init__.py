"""Training runs on disk: written epoch by epoch, resumed after any interruption."""

from sam_attribution.training.storage._store import Store
from sam_attribution.training.storage._storing import StoringMixin
