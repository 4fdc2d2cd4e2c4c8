"""State of callbacks as data, so that a resumed run continues with it."""

from skorch.callbacks import EpochScoring, ProgressBar

from sam_attribution._fingerprint import fingerprint_or_none
from sam_attribution.training.storage._packing import tensors_in

# created anew in every epoch
_SHORT_LIVED = {EpochScoring: {"y_trues_", "y_preds_"}, ProgressBar: {"pbar_"}}


def callback_states(callbacks):
    """Attributes of every callback, by its name.

    Plain data are kept as they are, learning rate schedulers and the like by their
    ``state_dict``. For anything else the fingerprint is kept: it shows whether a new callback is
    in the same state anyway.
    """
    return {
        name: {k: _described(v) for k, v in vars(cb).items() if k not in _short_lived(cb)}
        for name, cb in callbacks
    }


def restore_callbacks(callbacks, recorded):
    """Give new callbacks, after ``on_train_begin``, the state of the recorded ones."""
    for name, callback in callbacks:
        for attribute, state in recorded[name].items():
            if not _restored(callback, attribute, *state):
                raise ValueError(
                    f"The callback {name!r} cannot go on: its attribute {attribute!r} is not "
                    "plain data and has no state_dict. Train again without it."
                )


def _described(value):
    if hasattr(value, "load_state_dict") and not isinstance(value, type):
        kind, value = "state_dict", value.state_dict()
    else:
        kind = "value"
    if tensors_in(value) is None:
        kind, value = "fingerprint", fingerprint_or_none(value)
    return kind, value


def _restored(callback, attribute, kind, content):
    if kind == "value":
        setattr(callback, attribute, content)
        return True
    if not hasattr(callback, attribute):
        return False
    if kind == "state_dict":
        getattr(callback, attribute).load_state_dict(content)
        return True
    return content is not None and fingerprint_or_none(getattr(callback, attribute)) == content


def _short_lived(callback):
    return {
        name for cls, names in _SHORT_LIVED.items() if isinstance(callback, cls) for name in names
    }
