"""Warnings of this package, to be filtered or turned into errors by their class."""

__all__ = ["AttributionWarning"]


class AttributionWarning(UserWarning):
    """A result that should be read with care, or an argument that does not do what it promises.

    Examples
    --------
    >>> import warnings
    >>> from sam_attribution.exceptions import AttributionWarning
    >>> warnings.filterwarnings("error", category=AttributionWarning)  # to fail on any of them
    >>> warnings.filterwarnings("default", category=AttributionWarning)
    """
