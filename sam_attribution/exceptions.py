"""Warnings of this package, to be filtered or turned into errors by their class."""

__all__ = ["AttributionWarning"]


class AttributionWarning(UserWarning):
    """Warning about a doubtful result, or an argument without the expected effect.

    Examples
    --------
    >>> import warnings
    >>> from sam_attribution.exceptions import AttributionWarning
    >>> # to fail on any of them
    >>> warnings.filterwarnings("error", category=AttributionWarning)
    >>> warnings.filterwarnings("default", category=AttributionWarning)
    """
