"""State of callbacks as data, so that a resumed run continues with it."""

from skorch.callbacks import EpochScoring, ProgressBar

from sam_attribution._fingerprint import fingerprint_or_none
from sam_attribution._warnings import warn
from sam_attribution.training.storage._packing import tensors_in
from sam_attribution.training.storage._passed_callbacks import Change

_REMEDY = "Make it an argument of the callback's constructor, or create it where it is used"
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


def restore_callbacks(callbacks, recorded, changed):
    """Give new callbacks, after ``on_train_begin``, the state of the recorded ones.

    Arguments that were `changed` keep their new value. Code that was changed may do without an
    attribute that is no data.
    """
    for name, callback in callbacks:
        states, change = recorded.get(name, {}), changed.get(name, Change())
        _check_stateful(name, states, change)
        for attribute, state in states.items():
            if attribute in change.arguments or _restored(callback, attribute, *state):
                continue
            if not (change.code and state[0] == "fingerprint"):
                raise ValueError(
                    f"The callback {name!r} cannot be resumed: its attribute {attribute!r} is "
                    f"not plain data and has no state_dict. {_REMEDY}, or resume without it: "
                    f"pass ({name!r}, None) among the callbacks."
                )


def not_restorable(states, first, described):
    """(callback, attribute) pairs whose state could not be given to a new callback.

    `first` holds the states when training began, which new callbacks have by themselves. Arguments
    that cannot be `described` are used as they are passed again.
    """
    return [
        (name, attribute)
        for name, attributes in states.items()
        for attribute, state in attributes.items()
        if state[0] == "fingerprint"
        and (state[1] is None or first.get(name, {}).get(attribute) != state)
        and described[name]["arguments"].get(attribute, "") is not None
    ]


def warn_of_callback(name, attribute, folder):
    """Warn that a run with this callback cannot be resumed."""
    warn(
        f"The run in trajectory_dir={str(folder)!r} cannot be resumed if it stops: the callback "
        f"{name!r} holds {attribute!r}, which is not plain data and has no state_dict. {_REMEDY}."
    )


def _check_stateful(name, states, change):
    held = [attribute for attribute, (kind, _) in states.items() if kind == "state_dict"]
    if held and change.arguments:
        raise ValueError(
            f"The callback {name!r} cannot be resumed: its {', '.join(change.arguments)} changed "
            f"or cannot be compared, and the stored state of its {held[0]} would undo the change. "
            "Pass it as the run had it."
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
