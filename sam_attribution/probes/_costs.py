"""Cost of reading a probe by either way: a fixed rule of shapes, no timing."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sam_attribution.problem import activations_per_row
from sam_attribution.training import arguments_for

# In multiply-adds of a large matrix product, calibrated by benchmarks/attribute_scale.py
_PER_ACTIVATION = 40
_PER_PARAMETER = 100
_TANGENT, _GRADIENT, _GEMM = 2.2, 4.0, 0.6


def pass_costs(problem, n_directions):
    """Estimated cost of reading one row along k directions at one point, by either way.

    In multiply-adds. With f = (multiply-adds of a row's forward pass) + 40 (numbers that its
    layers put out) and P parameters,

    - ``"tangents"``: ``2.2 f k``, one forward-mode pass per direction;
    - ``"row-gradients"``: ``4 f + 100 P + 0.6 P k``, two forward passes and a backward pass, a
      gradient that is written down, and a matrix product (which points with the same
      directions share, see :func:`row_products`: not counted here).

    With ``parameters="head"`` one forward pass serves all directions: ``f`` and
    ``p`` per direction, p the size of the head.

    >>> import torch
    >>> from sam_attribution.probes import pass_costs
    >>> from sam_attribution.problem import Problem
    >>> X, y = torch.zeros(5, 20), torch.zeros(5, dtype=torch.long)
    >>> problem = Problem(module=torch.nn.Linear(20, 3).eval(), X=X, y=y, n_classes=3)
    >>> costs = pass_costs(problem, 100)
    >>> min(costs, key=costs.get)
    'row-gradients'
    """
    forward, size = _forward(problem), problem.layout.size
    gradients = _GRADIENT * forward + (_PER_PARAMETER + _GEMM * n_directions) * size
    if problem.head is not None:
        tangents = forward + len(problem.head.index) * n_directions
    else:
        tangents = _TANGENT * forward * n_directions
    return {"tangents": tangents, "row-gradients": gradients}


def _forward(problem):
    """Multiply-adds of one row's forward pass, and an equivalent for its activations."""
    module, X = problem.module, problem.X
    args, kwargs = arguments_for(module, X[:1])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        nn.Module.__call__(module, *args, **kwargs)
    return counter.get_total_flops() / 2 + _PER_ACTIVATION * activations_per_row(module, X)
