"""Callbacks of skorch that watch a number which no epoch records."""

from contextlib import contextmanager

from skorch.callbacks import BatchScoring, Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from skorch.exceptions import SkorchException
from torch.optim.lr_scheduler import ReduceLROnPlateau

_OF_VALIDATION = "valid_"


def check_monitors(net):
    """Raise a ValueError for a callback that would wait for a validation loss without a split.

    If code of the user might record the number, the first epoch tells: `naming_monitored`.
    """
    if net.train_split is not None or _may_record_more(net):
        return
    known = _recorded_in_training(net)
    for callback in _watching(net):
        if callback.monitor.startswith(_OF_VALIDATION) and callback.monitor not in known:
            raise ValueError(_without_split(callback))


@contextmanager
def naming_monitored(net):
    """Turn skorch's error about a number that is not in the history into one about `callbacks`."""
    try:
        yield
    except (KeyError, ValueError, SkorchException) as error:
        found = [each for each in _watching(net) if _is_about(error, each.monitor)]
        if not found:
            raise
        if net.train_split is None and found[0].monitor.startswith(_OF_VALIDATION):
            raise ValueError(_without_split(found[0])) from error
        recorded = sorted(net.history[-1].keys() - {"batches"}) if net.history else []
        raise ValueError(
            f"callbacks hold {type(found[0]).__name__}(monitor={found[0].monitor!r}), which is not "
            f"recorded in training. Choose among {recorded}, or place a callback before it that "
            "records it, such as EpochScoring."
        ) from error


def _is_about(error, monitor):
    return repr(monitor) in str(error) and "history" in str(error)


def _watching(net):
    """The callbacks of skorch's own that read a number from the history by its name."""
    for _, callback in net.callbacks_:
        by_plateau = type(callback) is LRScheduler and callback.policy_ is ReduceLROnPlateau
        reads = by_plateau or type(callback) in (EarlyStopping, Checkpoint)
        if reads and isinstance(callback.monitor, str):
            yield callback


def _may_record_more(net):
    """True if code of the user may write to the history."""
    classes = {*type(net).__mro__, *(type(callback) for _, callback in net.callbacks_)}
    known = {"sam_attribution", "skorch", "sklearn", "builtins"}
    return any(cls.__module__.partition(".")[0] not in known for cls in classes)


def _recorded_in_training(net):
    """Names of the scores that skorch's callbacks record of the rows trained on."""
    scorings = (each for _, each in net.callbacks_ if isinstance(each, EpochScoring | BatchScoring))
    names = {each.name_ for each in scorings if each.on_train}
    return names | {f"{name}_best" for name in names}


def _without_split(callback):
    name, monitor = type(callback).__name__, callback.monitor
    instead = monitor.replace(_OF_VALIDATION, "train_", 1)
    return (
        f"callbacks hold {name}(monitor={monitor!r}), but train_split=None trains on all rows and "
        "validates on none. Pass train_split=ValidSplit(5) of skorch.dataset, or "
        f"monitor={instead!r}."
    )
