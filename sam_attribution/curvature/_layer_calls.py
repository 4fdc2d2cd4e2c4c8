"""Layers whose gradient is not what their calls have of it: inputs and back-signals."""

import torch

from sam_attribution.curvature._layer_gradients import LayerGradients
from sam_attribution.curvature._unsupported_layers import (
    ELSEWHERE,
    NOT_BY_ROW,
    NOT_DIFFERENTIABLE,
    without_calls,
)

_N_ROWS = 8
_TOLERANCE = 1e-3
_ROUNDING = 1e-5  # of the gradient of all layers: some layers have none but by rounding


def unsupported_layers(problem):
    """All layers and parameters that Kronecker factors, or exact blocks, cannot stand for.

    A list of ``Unsupported``. A pass with 8 rows or fewer, three times.
    """
    point = problem.params
    rows = torch.arange(min(_N_ROWS, len(problem.y)), device=problem.y.device)
    layers = LayerGradients(problem)
    strange = without_calls(layers.layers, layers.watched(point, rows)[1], len(rows))
    return [*layers.ownerless, *strange, *_counted_elsewhere(problem, rows, strange)]


def _counted_elsewhere(problem, rows, unsupported):
    """Of the layers that are called as they have to be: those of another gradient."""
    layers, point = LayerGradients(problem, unsupported), problem.params
    if not layers.layers:
        return []
    logits, calls = layers.watched(point, rows)
    column = torch.linspace(1, 2, logits.numel()).to(logits).view(logits.shape)
    signals = layers.signals(logits, calls, column)
    of_last = layers.signals(logits, calls, _of_last_row(column))
    expected = _gradient(problem, point, rows, column)
    named, found = problem.layout.unflatten(point), []
    for layer in layers.layers:
        pairs = zip(calls[layer.name], signals[layer.name], strict=True)
        mixed = any(map(_reaches_other_rows, of_last[layer.name]))
        reason = NOT_BY_ROW if mixed else _fault(layer, layer.own_tensors(named), pairs, expected)
        found += [layer.unsupported(reason)] if reason else []
    return found


def _of_last_row(column):
    """The column without the outputs of other rows than the last."""
    alone = torch.zeros_like(column)
    alone[-1] = column[-1]
    return alone


def _reaches_other_rows(signal):
    """True if a back-signal of the last row's outputs is met at the places of other rows."""
    return signal[:-1].norm() > _TOLERANCE * signal.norm()


def _fault(layer, own, pairs, expected):
    """Reason why a layer is not supported, by its calls with their back-signals; None if it is."""
    wanted = expected[layer.index.to(expected.device)]
    try:
        of_calls = sum(_of_call(layer, own, call, signal) for call, signal in pairs)
    except ValueError:  # no way to single rows
        return NOT_DIFFERENTIABLE
    near = _TOLERANCE * wanted.norm() + _ROUNDING * expected.norm()
    return ELSEWHERE if (of_calls - wanted).norm() > near else None


def _gradient(problem, point, rows, column):
    leaf = point.detach().requires_grad_()
    with torch.enable_grad():
        logits = problem.logits(leaf, problem.buffers, problem.X[rows])
    return torch.autograd.grad(logits, leaf, column)[0]


def _of_call(layer, own, call, signal):
    """Gradient of a call's rows together in the attributed parameters, (n_numbers,)."""
    if layer.is_embedding:
        return _of_lookup(layer.module, call.given.reshape(-1), signal)
    if not layer.is_kronecker:
        return layer.row_gradients(own, call.given, signal).sum(0)
    inputs, signals = layer.factors(call, signal)
    joined = torch.einsum("ngto,ngti->goi", signals, inputs)
    n_in = joined.shape[2] - layer.has_bias
    parts = {"weight": joined[:, :, :n_in], "bias": joined[:, :, n_in:]}
    return torch.cat([parts[name].reshape(-1) for name in layer.own_names])


def _of_lookup(embedding, tokens, signal):
    signal = signal.reshape(len(tokens), -1)
    if embedding.padding_idx is not None:
        signal = signal * (tokens != embedding.padding_idx)[:, None]
    table = signal.new_zeros(embedding.weight.shape)
    return table.index_add(0, tokens, signal).reshape(-1)
