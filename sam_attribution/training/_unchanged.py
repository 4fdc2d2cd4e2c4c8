"""Check that criterion and parameters are still those of the recorded steps."""

from sam_attribution.training._wrappers import inner_module


def check_unchanged(net):
    """Raise a ValueError if something was exchanged after training that the run depends on."""
    recorded, module = net.trajectory_, inner_module(net.module_)
    trained = [name for name, p in module.named_parameters() if p.requires_grad]
    if changed := set(recorded.names or trained) ^ set(trained):
        raise ValueError(
            "parameters of module_ were frozen or unfrozen after training, such as "
            f"{min(changed)!r}. Set requires_grad back, and choose what is attributed by "
            "parameters=."
        )
    if not recorded.is_criterion(getattr(net, "criterion_", None)):
        raise ValueError(
            "criterion_ was replaced after training, such as by set_params(criterion=...): the "
            "recorded steps used another loss. Fit again."
        )
    n_groups = len(net.optimizer_.param_groups)
    if recorded.schedule and n_groups != len(recorded.schedule[-1].rates):
        raise ValueError(
            "optimizer_ was given a parameter group after training, which the recorded steps do "
            "not have. Fit again."
        )
