"""Check that a layer's gradient is what its calls have of it: inputs and back-signals."""

import torch

_N_ROWS = 8
_TOLERANCE = 1e-3
_ROUNDING = 1e-5  # of the gradient of all layers: some layers have none but by rounding


def check_calls(layers):
    """Raise a ValueError for a layer whose calls do not make up the gradient of its parameters.

    `layers` is a ``LayerGradients``. A pass with 8 rows or fewer, twice.
    """
    problem, point = layers.problem, layers.problem.params
    rows = torch.arange(min(_N_ROWS, len(problem.y)), device=problem.y.device)
    logits, calls = layers.passes(point, rows)
    column = torch.linspace(1, 2, logits.numel()).to(logits).view(logits.shape)
    signals = layers.signals(logits, calls, column)
    expected = _gradient(problem, point, rows, column)
    named = problem.layout.unflatten(point)
    for layer in layers.layers:
        own, seen = layer.own_tensors(named), calls[layer.name]
        pairs = zip(seen, signals[layer.name], strict=True)
        found = sum(_of_call(layer, own, call, signal) for call, signal in pairs)
        wanted = expected[layer.index.to(expected.device)]
        if (found - wanted).norm() > _TOLERANCE * wanted.norm() + _ROUNDING * expected.norm():
            raise ValueError(
                f"the parameters of the layer {layer.name!r} count elsewhere than in its calls, or "
                "a hook changes what it puts out, so that its curvature cannot be told from inputs "
                'and back-signals. Leave it out by parameters=[...], or use curvature="ggn".'
            )


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
