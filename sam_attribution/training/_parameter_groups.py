"""Parameter groups that a callback made: by ``add_param_group``, or by moving parameters."""

import copy

from sam_attribution.training._accelerated import bare_optimizer
from sam_attribution.training._wrappers import inner_module


def stranger_in_groups(net):
    """True if the optimizer holds a parameter that no part of the net has."""
    own = {id(p) for _, p in net.get_all_learnable_params()}
    groups = net.optimizer_.param_groups
    if not isinstance(groups, list):  # of something else that steps
        return False
    return any(id(p) not in own for group in groups for p in group["params"])


def take_groups(net, other):
    """Give the fresh optimizer of a copy of `net` the groups that the net's optimizer has.

    The copy's optimizer was made as the net's was, so that they differ after a callback only.
    """
    twins = _twins(net, other)
    groups, fresh = bare_optimizer(net.optimizer_).param_groups, bare_optimizer(other.optimizer_)
    wanted = [[twins.get(id(p), p) for p in group["params"]] for group in groups]
    if _ids(wanted) == _ids(group["params"] for group in fresh.param_groups):
        return
    fresh.param_groups.clear()
    for group, params in zip(groups, wanted, strict=True):
        settings = {name: copy.deepcopy(v) for name, v in group.items() if name != "params"}
        fresh.add_param_group({**settings, "params": params})


def _twins(net, other):
    """Parameters of the copy by the identity of those of the net."""
    named = {}
    for mine, its in ((net.module_, other.module_), (net.criterion_, other.criterion_)):
        if hasattr(mine, "parameters"):
            both = inner_module(mine).parameters(), inner_module(its).parameters()
            named |= {id(p): twin for p, twin in zip(*both, strict=True)}
    return named


def _ids(groups):
    return [[id(p) for p in group] for group in groups]
