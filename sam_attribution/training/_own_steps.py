"""Parts of the training step that a user's class replaces."""

_HOOKS = (
    "train_step",
    "train_step_single",
    "get_train_step_accumulator",
    "_zero_grad_optimizer",
    "_step_optimizer",
    "on_grad_computed",
    "notify",
)


def own_steps_of(net):
    """Phrase that names a part of the training step that a user's class replaces, or None."""
    for base in _own_classes(net):
        for hook in _HOOKS:
            if hook in vars(base):
                return f"{base.__name__} has a {hook} of its own"
    return None


def passed_by(net):
    """Phrase that names an own ``train_step`` that does not call that of this package."""
    owners = [base for base in _own_classes(net) if "train_step" in vars(base)]
    name = (owners or [type(net)])[0].__name__
    return (
        f"{name} has a train_step of its own that does not call super().train_step(batch, "
        "**fit_params). Without it no step is recorded, sample weights are not read, and dropout "
        "has the same masks in every step. Call it there, or override train_step_single instead"
    )


def step_passed_by(net):
    """A ValueError for such a net, where its steps would give wrong numbers."""
    return ValueError(f"{passed_by(net)}.")


def _own_classes(net):
    ours = ("sam_attribution", "skorch", "builtins")
    return [c for c in type(net).__mro__ if c.__module__.partition(".")[0] not in ours]
