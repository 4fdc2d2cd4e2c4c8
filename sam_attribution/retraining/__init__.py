"""The same training again with some rows left out: what every score is measured against."""

from sam_attribution.retraining._train_many import Stack, train_many

__all__ = ["Stack", "train_many"]
