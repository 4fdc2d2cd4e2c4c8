"""Groups of rows that belong together, such as those of one patient, in the splits of ``fit``."""

from sam_attribution._validation import check_column
from sam_attribution._warnings import warn
from sam_attribution.validation_data import ValidationData


def checked_groups(groups, validation, n_samples):
    """Groups as an array of shape (n_samples,), or None; a warning if nothing is held out."""
    if groups is None:
        return None
    groups = check_column(groups, "groups", n_samples)
    if isinstance(validation, ValidationData):
        warn(
            "groups have no effect, because validation=ValidationData(X, y) holds no rows out. "
            "Leave groups out, and check yourself that no group has rows in both parts."
        )
    return groups


def pairs_of(splitter, X, y, groups):
    """Positions trained on and held out, a pair per split."""
    if groups is not None:
        return list(splitter.split(X, y, groups))
    if _asks_for_groups(splitter):
        raise _needs_groups(splitter)
    try:
        return list(splitter.split(X, y))  # splitters of one's own may know no groups
    except ValueError as error:
        if "groups" in str(error):
            raise _needs_groups(splitter) from error
        raise


def _asks_for_groups(splitter):
    """True for the splitters of scikit-learn that keep groups together."""
    if not hasattr(splitter, "get_metadata_routing"):
        return False
    requests = getattr(splitter.get_metadata_routing(), "split", None)
    return getattr(requests, "requests", {}).get("groups") is True


def _needs_groups(splitter):
    return ValueError(
        f"validation={splitter!r} needs groups, got none. Give the group of each row: "
        "fit(X, y, groups=...)."
    )


def check_groups_stay_whole(validation, splits, groups):
    """Warn if a group has rows that are trained on and rows that judge the same model."""
    if groups is None:
        return
    for number, split in enumerate(splits):
        shared = set(groups[split.train].tolist()) & set(groups[split.held_out].tolist())
        if shared:
            warn(
                f"validation={validation!r} does not keep groups together: {len(shared)} of "
                f"them, such as {min(shared, key=str)!r}, have rows on both sides of split "
                f"{number}. Use a splitter that does, such as StratifiedGroupKFold(5)."
            )
            return
