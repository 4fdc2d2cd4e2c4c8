"""The optimizer of a recorded training as a pure function, and its memory as flat vectors."""

import torch

from sam_attribution.dynamics import SGD, Adam, NoFunctionalForm

_SGD = ("momentum", "dampening", "nesterov")
_NEEDED = {
    torch.optim.SGD: _SGD,
    torch.optim.Adam: ("betas", "eps"),
    torch.optim.AdamW: ("betas", "eps"),
}


def functional_optimizer(path, groups=None, dtype=None):
    """The settings of the path's optimizer, to be used by ``dynamics.training_step``.

    `groups` are those of each parameter group, as ``path.settings_at`` a step; by default those
    that training ended with. `dtype` is that of the steps, by default that of training.

    Raises
    ------
    NoFunctionalForm
        For an optimizer that has no functional form here, or settings that it lacks.
    """
    groups = path.group_settings if groups is None else groups
    check_optimizer(path.optimizer, groups)
    decays = path.spread([group.get("weight_decay", 0.0) for group in groups], dtype)
    return _with_decays(path.optimizer, groups, path.where_stepped(decays, dtype))


def functional_twin(optimizer):
    """The settings of a torch optimizer with one parameter group, as a function of vectors."""
    kind, groups = type(optimizer), optimizer.param_groups
    check_optimizer(kind, groups)
    _common(groups, "weight_decay")
    _common(groups, "lr")
    return _with_decays(kind, groups, groups[0].get("weight_decay", 0.0))


def _with_decays(kind, groups, decays):
    if kind is torch.optim.SGD:
        return SGD(**{name: _common(groups, name) for name in _SGD}, weight_decay=decays)
    return Adam(
        betas=tuple(_common(groups, "betas")),
        eps=_common(groups, "eps"),
        weight_decay=decays,
        decoupled=_common(groups, "decoupled_weight_decay", kind is torch.optim.AdamW),
    )


def check_optimizer(kind, groups, method="this method"):
    """Raise NoFunctionalForm for a class of optimizer, or settings, without one here."""
    if kind not in _NEEDED:
        raise NoFunctionalForm(
            f"{method} needs the optimizer's step as a function, which is known for SGD, Adam "
            f"and AdamW of torch.optim, not for {kind.__name__}. Train with one of these, or use "
            'a method such as "gif" or "hif", or "loo", which repeats the net\'s own steps.',
            f"{kind.__name__} has no functional form",
        )
    for name in _NEEDED[kind]:
        _common(groups, name)
    if _common(groups, "amsgrad"):
        raise NoFunctionalForm(
            "optimizer__amsgrad=True is not supported by this method. Use False, or a method "
            'such as "gif", "hif" or "loo".',
            f"{kind.__name__}(amsgrad=True) has no functional form",
        )


def decays_apart(kind, groups):
    """True if the optimizer has decoupled weight decay, which is not part of the loss."""
    is_adamw = issubclass(kind, torch.optim.AdamW)
    return any(
        group.get("weight_decay") and group.get("decoupled_weight_decay", is_adamw)
        for group in groups
    )


def optimizer_memory(path, state, before=None):
    """The optimizer's memory at a recorded state, in the form that ``dynamics`` uses.

    Where it was not kept it is the momentum that moved the weights from the state `before`.
    """
    if not state.is_whole:
        moved = before.params - state.params
        rates = path.spread(path.schedule[before.step].rates)
        return (moved / (rates.to(moved) if torch.is_tensor(rates) else rates),)
    parts = path.optimizer_state(state)
    if path.optimizer is torch.optim.SGD:
        velocity = _flat(parts, "momentum_buffer", state.params)
        return () if velocity is None else (velocity,)
    counts = [entries["step"] for _, entries, _ in parts if entries]
    if not counts:
        return ()
    moments = (_flat(parts, name, state.params) for name in ("exp_avg", "exp_avg_sq"))
    return (torch.as_tensor(counts[0]).to(state.params), *moments)


def _flat(parts, name, like):
    """Entries of all parameters in one vector; None if the optimizer holds none of them."""
    found = [(shape, (entries or {}).get(name)) for shape, entries, _ in parts]
    if all(value is None for _, value in found):
        return None
    return torch.cat(
        [
            like.new_zeros(shape.numel()) if value is None else value.flatten().to(like)
            for shape, value in found
        ]
    )


def _common(groups, name, default=None):
    values = [group.get(name, default) for group in groups]
    if any(value != values[0] for value in values):
        raise NoFunctionalForm(
            f"optimizer has parameter groups that differ in {name}, {values}, but this method "
            'supports groups that differ in lr and weight_decay only. Use a method such as "hif" '
            'or "loo".',
            f"the parameter groups differ in {name}",
        )
    return values[0]
