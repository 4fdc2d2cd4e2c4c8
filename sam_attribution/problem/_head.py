"""The last linear layer, whose gradients are closed form given the features before it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam_attribution.problem._functional_call import flat_call
from sam_attribution.problem._nearness import are_near, entries_differ, tolerance_of


class _Call(NamedTuple):
    """A call of the layer: what it was given, and the weight and bias that it had then."""

    given: Tensor
    weight: Tensor
    bias: Tensor | None

    @property
    def features(self):
        return self.given.to(self.weight.dtype)  # autocast gives others

    def explains(self, logits):
        """True if the logits are those of this call."""
        if self.given.ndim != 2:
            return False
        again = nn.functional.linear(self.features, self.weight, self.bias)
        tolerance = tolerance_of(1e-4, self.given.dtype, logits.dtype)
        return not entries_differ(again, logits, tolerance)


class Head:
    """The last ``nn.Linear`` of a module and where its weights sit in the flat vector.

    `module` is a private copy in evaluation mode. A ValueError if it has no ``nn.Linear``.
    """

    def __init__(self, module, layout):
        linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
        if not linear:
            raise _no_head(module)
        self._module = module
        self._layer = linear[-1]
        self._layout = layout
        # a tied weight is in the layout by the first of its names
        names = {id(p): name for name, p in module.named_parameters() if name in layout.slices}
        self._weight_name = names.get(id(self._layer.weight))
        self._bias_name = names.get(id(self._layer.bias))

    @property
    def names(self):
        """Names of the head's trainable parameters in the flat vector."""
        return [name for name in (self._weight_name, self._bias_name) if name]

    @property
    def index(self):
        """Positions of the head's trainable numbers.

        A ValueError if all of it is frozen, or if weight or bias are computed from others.
        """
        own = self._layer._parameters
        computed = any(getattr(self._layer, n) is not own.get(n) for n in ("weight", "bias"))
        if computed or not self.names:
            raise _no_head(self._module)
        spans = [torch.arange(s.start, s.stop) for s in map(self._layout.slices.get, self.names)]
        return torch.cat(spans)

    @property
    def shape(self):
        """Numbers that the layer puts out, and numbers that it takes, for one row."""
        return tuple(self._layer.weight.shape)

    def features(self, params, buffers, X):
        """Logits and the head's input, from one forward pass.

        A ValueError if the logits are not the head applied to its input.
        """
        logits, calls = self._calls(params, buffers, X)
        if len(calls) != 1 or not calls[0].explains(logits):
            raise ValueError(
                'parameters="head" needs logits that are the output of the last nn.Linear, and '
                f"{type(self._module).__name__}.forward changes that output or calls the layer "
                'in another way. Use parameters="all".'
            )
        return logits, calls[0].features

    def tangents(self, features, directions):
        """Logit tangents (n, n_classes, k) of head directions (n_params, k)."""
        columns = [self._tangent(self._layout.unflatten(d), features) for d in directions.T]
        return torch.stack(columns, dim=2)

    def gradient(self, features, logit_gradient):
        """Flat gradient (n_params,) of a sum over rows, from its gradient in the logits."""
        flat = features.new_zeros(self._layout.size)
        parts = self._layout.unflatten(flat)
        if self._weight_name:
            parts[self._weight_name].copy_(logit_gradient.T @ features)
        if self._bias_name:
            parts[self._bias_name].copy_(logit_gradient.sum(0))
        return flat

    def row_gradients(self, features, logit_gradients):
        """Flat gradients (n, ..., n_params) of single rows, from theirs in the logits."""
        flat = features.new_zeros(*logit_gradients.shape[:-1], self._layout.size)
        if self._weight_name:
            of_row = features.view(len(features), *[1] * (logit_gradients.ndim - 1), -1)
            outer = logit_gradients[..., None] * of_row
            flat[..., self._layout.slices[self._weight_name]] = outer.flatten(-2)
        if self._bias_name:
            flat[..., self._layout.slices[self._bias_name]] = logit_gradients
        return flat

    def check_gradient(self, params, buffers, X):
        """Raise a ValueError unless the closed form is the gradient of the logits of rows `X`."""
        _, features = self.features(params, buffers, X)
        self._check_dtypes(*self._calls(params, buffers, X))
        with torch.enable_grad():
            own = {name: params[name].detach().requires_grad_() for name in self.names}
            logits = flat_call(self._module, (params | own, buffers), X)
            like = {"dtype": logits.dtype, "device": logits.device}
            along = torch.linspace(1, 2, logits.numel(), **like).view(logits.shape)
            found = torch.autograd.grad(logits, [*own.values()], along)
        closed = self._layout.unflatten(self.gradient(features, along))
        for name, gradient in zip(own, found, strict=True):
            if not are_near(gradient, closed[name], 1e-3):
                raise ValueError(
                    f'parameters="head" needs a last nn.Linear that is used once, but {name!r} '
                    f"of {type(self._module).__name__} is used in another place, too. Use "
                    f'parameters=["{name}"], whose gradient is taken by autodiff, or "all".'
                )

    def _calls(self, params, buffers, X):
        """Logits of one forward pass, and the calls of the layer in it."""
        calls = []

        def note(layer, args, kwargs):
            given = [*args, *kwargs.values()]
            calls.extend(_Call(each, layer.weight, layer.bias) for each in given)

        handle = self._layer.register_forward_pre_hook(note, with_kwargs=True)
        try:
            with torch.no_grad():
                return flat_call(self._module, (params, buffers), X), calls
        finally:
            handle.remove()

    def _tangent(self, direction, features):
        n_outputs = self._layer.out_features
        zero = features.new_zeros(n_outputs, features.shape[1])
        weight = direction[self._weight_name] if self._weight_name else zero
        bias = direction[self._bias_name] if self._bias_name else None
        return nn.functional.linear(features, weight, bias)

    def _check_dtypes(self, logits, calls):
        dtypes = [t.dtype for t in (calls[0].given, calls[0].weight, logits)]
        if len(set(dtypes)) > 1:
            given, weight, out = (str(dtype).removeprefix("torch.") for dtype in dtypes)
            raise ValueError(
                'parameters="head" needs features, weight and logits of one dtype, but '
                f"{type(self._module).__name__} has them in {given}, {weight} and {out}, as "
                'autocast does. Use parameters="all", or no other dtypes in forward.'
            )


def _no_head(module):
    return ValueError(
        'parameters="head" needs a module that ends in a trainable nn.Linear, whose weight and '
        "bias are parameters and not computed (as by weight norm), got "
        f'{type(module).__name__}. Use parameters="all" or name patterns.'
    )
