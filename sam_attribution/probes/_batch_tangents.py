"""Outputs of a batch in training mode and their derivatives along parameter directions."""

import torch
from torch.autograd import forward_ad

from sam_attribution.dynamics import check_differentiable_again
from sam_attribution.probes._layer_rules import LayerRules
from sam_attribution.probes._step_probe import StepProbe
from sam_attribution.problem import FirstThatWorks, forward_mode_as_backward


def step_probe(batch, point, buffers, directions, **options):
    """The :class:`StepProbe` of a batch that goes through the module as in training.

    `batch` is a ``problem.TrainingBatch``, `options` are the other fields of the probe.
    """
    with batch.in_training():
        way = _WAYS.of(batch.problem, lambda way: way(batch, point, buffers, directions[:, :1]))
        output, tangents = way(batch, point, buffers, directions)
    return StepProbe(
        point=point,
        directions=directions,
        buffers=buffers,
        rows=batch.rows,
        rows_weight=batch.weight,
        output=output,
        tangents=tangents,
        **options,
    )


def batch_forward_mode(batch, point, buffers, directions):
    """Dual numbers: about 2.5 forward passes per direction, the memory of one."""
    passes = [_dual_pass(batch, point, buffers, direction) for direction in directions.T]
    return passes[0][0], torch.stack([tangent for _, tangent in passes], dim=-1)


def batch_double_backward(batch, point, buffers, directions):
    """``J v`` as the derivative of ``J'u`` in u: about 6 forward passes, backward memory."""
    leaf = point.detach().clone().requires_grad_()
    with torch.enable_grad():
        output, _ = batch.outputs(leaf, batch.copied(buffers))
        u = torch.zeros_like(output, requires_grad=True)
        pulled = torch.autograd.grad(output, leaf, u, create_graph=True)[0]
        check_differentiable_again(pulled)
        tangents = [
            torch.autograd.grad(pulled, u, direction, retain_graph=True)[0]
            for direction in directions.T
        ]
    return output.detach(), torch.stack(tangents, dim=-1)


def _dual_pass(batch, point, buffers, direction):
    with forward_ad.dual_level(), LayerRules(), forward_mode_as_backward():
        dual = forward_ad.make_dual(point, direction)
        output, _ = batch.outputs(dual, batch.copied(buffers))
        value, tangent = forward_ad.unpack_dual(output)
        return value, torch.zeros_like(value) if tangent is None else tangent


_WAYS = FirstThatWorks(
    "differentiated along a direction in training", batch_forward_mode, batch_double_backward
)
