"""The last linear layer, whose gradients are closed form given the features before it."""

import torch
from torch import nn
from torch.func import functional_call


class Head:
    """The last ``nn.Linear`` of a module and where its weights sit in the flat vector.

    `module` is a private copy in evaluation mode. A ValueError if it has no trainable
    ``nn.Linear``.
    """

    def __init__(self, module, layout):
        linear = [(name, m) for name, m in module.named_modules() if isinstance(m, nn.Linear)]
        name, layer = linear[-1] if linear else ("", None)
        self.weight_name = f"{name}.weight".lstrip(".")
        if layer is None or self.weight_name not in layout.slices:
            raise ValueError(
                'parameters="head" needs a module that ends in a trainable nn.Linear, got '
                f'{type(module).__name__}. Use parameters="all" or name patterns.'
            )
        self.bias_name = f"{name}.bias".lstrip(".") if layer.bias is not None else None
        self._module = module
        self._layer = layer
        self._layout = layout

    @property
    def index(self):
        """Positions of the head's numbers in the flat vector."""
        names = [self.weight_name] + ([self.bias_name] if self.bias_name else [])
        spans = [torch.arange(s.start, s.stop) for s in (self._layout.slices[n] for n in names)]
        return torch.cat(spans)

    @property
    def shape(self):
        """Numbers that the layer puts out, and numbers that it takes, for one row."""
        return tuple(self._layer.weight.shape)

    def features(self, params, buffers, X):
        """Logits and the head's input, from one forward pass.

        A ValueError if the logits are not the head applied to its input.
        """
        caught = []
        handle = self._layer.register_forward_pre_hook(lambda _m, args: caught.append(args[0]))
        try:
            with torch.no_grad():
                logits = functional_call(self._module, (params, buffers), (X,))
        finally:
            handle.remove()
        features = caught[0] if len(caught) == 1 else None
        self._check(params, logits, features)
        return logits, features

    def tangents(self, features, directions):
        """Logit tangents (n, n_classes, k) of head directions (n_params, k)."""
        columns = [self._linear(self._layout.unflatten(d), features) for d in directions.T]
        return torch.stack(columns, dim=2)

    def gradient(self, features, logit_gradient):
        """Flat gradient (n_params,) of a sum over rows, from its gradient in the logits."""
        flat = features.new_zeros(self._layout.size)
        parts = self._layout.unflatten(flat)
        parts[self.weight_name].copy_(logit_gradient.T @ features)
        if self.bias_name:
            parts[self.bias_name].copy_(logit_gradient.sum(0))
        return flat

    def row_gradients(self, features, logit_gradients):
        """Flat gradients (n, ..., n_params) of single rows, from theirs in the logits."""
        flat = features.new_zeros(*logit_gradients.shape[:-1], self._layout.size)
        of_row = features.view(len(features), *[1] * (logit_gradients.ndim - 1), -1)
        outer = logit_gradients[..., None] * of_row
        flat[..., self._layout.slices[self.weight_name]] = outer.flatten(-2)
        if self.bias_name:
            flat[..., self._layout.slices[self.bias_name]] = logit_gradients
        return flat

    def _linear(self, params, features):
        bias = params[self.bias_name] if self.bias_name else None
        return nn.functional.linear(features, params[self.weight_name], bias)

    def _check(self, params, logits, features):
        if features is not None and features.ndim == 2:
            again = self._linear(params, features)
            if again.shape == logits.shape and torch.allclose(again, logits, rtol=1e-4, atol=1e-5):
                return
        raise ValueError(
            'parameters="head" needs logits that are the last nn.Linear applied to its input, '
            f"which {type(self._module).__name__}.forward changes afterwards or calls otherwise. "
            'Use parameters="all".'
        )
