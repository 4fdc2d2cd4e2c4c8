"""Whether somebody has checked the labels of validation rows: what ``trusted`` may say."""

from sam_attribution.validation_data import ValidationData


def check_trusted(trusted, validation):
    """Raise a ValueError for ``trusted=True`` without rows of which this can be true."""
    if trusted != "auto" and trusted and not isinstance(validation, ValidationData):
        raise ValueError(
            "trusted=True needs validation=ValidationData(X, y), rows of your own whose labels are "
            f"right, got validation={validation!r}, which holds out rows with the labels that are "
            "judged. Pass the checked rows, or trusted='auto'."
        )
