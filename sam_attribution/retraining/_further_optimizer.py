"""The optimizer of further training: a function of vectors, or one of torch."""

import inspect
from functools import partial

import torch

from sam_attribution.problem import functional_twin


def further_optimizer(given, shapes):
    """The given optimizer as a FunctionOptimizer or a TorchOptimizer; None for None.

    `shapes` are those of the parameters that it is for.
    """
    if given is None:
        return None
    if hasattr(given, "update") and not isinstance(given, type | torch.optim.Optimizer):
        return FunctionOptimizer(given)
    return TorchOptimizer(given, shapes)


class FunctionOptimizer:
    """Settings of ``dynamics``, which know no rate and have no form in the net's own loop."""

    rate = None

    def __init__(self, optimizer):
        self._optimizer = optimizer

    def as_function(self):
        """The settings themselves."""
        return self._optimizer

    def with_rate(self, lr):
        """Raise a ValueError: the net's own loop needs an optimizer of torch."""
        raise ValueError(
            f"optimizer={self._optimizer!r} is a function of vectors, and this training goes on by "
            "the net's own steps only, which need an optimizer of torch. Pass a class or an "
            "instance, such as optimizer=torch.optim.SGD."
        )


class TorchOptimizer:
    """A class of torch's kind, another factory of one, or the settings of an instance."""

    def __init__(self, given, shapes):
        self._make = _again(given) if isinstance(given, torch.optim.Optimizer) else given
        parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
        self._trial = self.with_rate(None)(parameters)
        self.rate = float(self._trial.param_groups[0]["lr"])

    def as_function(self):
        """The optimizer as ``dynamics`` has it; NoFunctionalForm if it does not."""
        return functional_twin(self._trial)

    def with_rate(self, lr):
        """Factory of the optimizer from a list of parameters, with another rate if one is given."""
        return partial(_made, self._make, lr)


def _made(make, lr, parameters):
    try:
        optimizer = make(parameters)
    except TypeError as error:
        raise TypeError(
            f"optimizer={make!r} cannot be made from a list of parameters: {error}. Pass the rest "
            "with functools.partial."
        ) from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must make a torch Optimizer, got {type(optimizer).__name__}.")
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise ValueError("optimizer must minimise the loss, got maximize=True. Set maximize=False.")
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] if lr is None else float(lr)
    return optimizer


def _again(instance):
    """Factory of optimizers with the class and the settings of an instance."""
    groups, kind = instance.param_groups, type(instance)
    settings = {k: v for k, v in groups[0].items() if k in instance.defaults}
    others = [{k: v for k, v in g.items() if k in instance.defaults} for g in groups[1:]]
    if any(other != settings for other in others):
        raise ValueError(
            f"optimizer of class {kind.__name__} has parameter groups with different settings, and "
            "which parameters they are for is not known. Pass one group, or None for the "
            "training's own optimizer."
        )
    known = inspect.signature(kind).parameters
    if missing := [p for p in list(known)[1:] if p not in settings and _is_needed(known[p])]:
        raise ValueError(
            f"optimizer of class {kind.__name__} does not tell its {missing[0]!r}. Pass "
            f"functools.partial({kind.__name__}, {missing[0]}=...)."
        )
    return partial(kind, **{k: v for k, v in settings.items() if k in known})


def _is_needed(parameter):
    return parameter.default is parameter.empty and parameter.kind in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    )
