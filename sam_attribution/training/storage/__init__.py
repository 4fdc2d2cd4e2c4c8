"""Training runs on disk: written epoch by epoch, resumed after any interruption."""

from sam_attribution.training.storage._manifest import are, check_keys, is_entry
from sam_attribution.training.storage._store import Store
from sam_attribution.training.storage._storing import StoringMixin
from sam_attribution.training.storage._writing import naming_the_folder
