"""What an optimizer goes by beside its rates: schedulers cycle momentum as well."""

import copy

from sam_attribution.training._accelerated import bare_optimizer


def settings_of(optimizer):
    """Momentum, betas, weight decay and the like of each parameter group, a tuple of dict."""
    names = sorted(bare_optimizer(optimizer).defaults.keys() - {"lr"})
    return tuple({n: copy.deepcopy(group[n]) for n in names} for group in optimizer.param_groups)


def put_settings(optimizer, rates, settings):
    """Give each parameter group its rate and settings; no settings leave them as they are."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    for group, values in zip(optimizer.param_groups, settings, strict=bool(settings)):
        group.update(values)
