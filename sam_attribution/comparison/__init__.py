"""What retraining says, to hold scores against."""

from sam_attribution.comparison._further_training import further_training

__all__ = ["further_training"]
