"""Row scores from activations and back-signals: the other exact way without row gradients."""

import torch
from torch import nn
from torch.func import functional_call


def back_signal_scores(problem, probe, X, y=None):
    """<direction, gradient of each row's loss>, shape (n,), for labels `y` (class 0 if None).

    For modules whose parameters all sit in Linear, Conv2d, BatchNorm2d (evaluation mode) and
    GroupNorm layers. A layer's share is ``<back-signal, output tangent at fixed input>``.
    """
    y = torch.zeros(len(X), dtype=torch.long) if y is None else y
    point, direction = (problem.layout.unflatten(v) for v in (probe.point, probe.directions[:, 0]))
    seen, handles = [], []
    for name, layer in problem.module.named_modules():
        if any(True for _ in layer.parameters(recurse=False)):
            handles.append(layer.register_forward_hook(_catch(seen, name)))
    try:
        logits = _forward(problem, point, probe.buffers, X)
    finally:
        for handle in handles:
            handle.remove()
    loss = nn.functional.cross_entropy(logits, y, reduction="sum")
    signals = torch.autograd.grad(loss, [output for _, _, _, output in seen])
    shares = (
        _share(layer, name, given, direction, probe.buffers, signal)
        for (name, layer, given, _), signal in zip(seen, signals, strict=True)
    )
    return sum(shares)


def _forward(problem, point, buffers, X):
    with torch.enable_grad():
        return functional_call(problem.module, (point, buffers), (X,))


def _catch(seen, name):
    def hook(layer, arguments, output):
        output = output if output.requires_grad else output.requires_grad_()
        seen.append((name, layer, arguments[0].detach(), output))

    return hook


@torch.no_grad()
def _share(layer, name, given, direction, buffers, signal):
    own = {key: direction[f"{name}.{key}"] for key, _ in layer.named_parameters(recurse=False)}
    state = {key: buffers[f"{name}.{key}"] for key, _ in layer.named_buffers(recurse=False)}
    tangent = functional_call(layer, own | state, (given,))  # every layer is linear in its own
    return (signal * tangent).flatten(1).sum(1)
