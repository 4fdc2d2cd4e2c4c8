"""Whether somebody has checked the labels of validation rows: what ``trusted`` may say."""

from sam_attribution.validation_data import ValidationData


def check_trusted(trusted, validation):
    """Raise a ValueError for ``trusted=True`` without rows of which this can be true."""
    if trusted != "auto" and trusted and not isinstance(validation, ValidationData):
        raise ValueError(
            "trusted=True needs validation=ValidationData(X, y) with rows whose labels were "
            f"checked, got validation={validation!r}, which holds out rows with unchecked "
            "labels. Pass the checked rows, or trusted='auto'."
        )
