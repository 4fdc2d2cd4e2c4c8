"""Where an optimizer keeps each parameter of a module."""

from typing import NamedTuple


class _Owner(NamedTuple):
    """The optimizer's place for a parameter: number in its state, parameter group."""

    number: int
    group: int


def places_in_optimizer(groups, layout, module):
    """The place of each parameter, in layout order."""
    pairs = [(p, g) for g, group in enumerate(groups) for p in group["params"]]
    place = {id(p): _Owner(number, group) for number, (p, group) in enumerate(pairs)}
    parameters = layout.parameters_of(module)
    if not all(id(p) in place for p in parameters):
        raise ValueError(
            "module_ was replaced after training: it holds other parameters than optimizer_, and "
            "the recorded steps did not change them. Copy values into the trained module "
            "instead: net.module_.load_state_dict(other.state_dict())."
        )
    return [place[id(p)] for p in parameters]
