"""Gradients of single rows, layer by layer, as inputs and back-signals of the layers' calls."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import vjp, vmap

from sam_attribution.curvature._unsupported_layers import (
    NO_LAYER,
    Unsupported,
    names_of,
    refusal,
    without_calls,
)
from sam_attribution.problem import FirstThatWorks, attributed_names, functional_call


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer in a pass: its input, and its output (with its graph)."""

    given: torch.Tensor
    output: torch.Tensor


class Layer:
    """A module without parts, and the places of its attributed parameters in the flat vector.

    `names` are those that these have in the whole module.
    """

    def __init__(self, name, module, names, layout):
        self.name = name
        self.module = module
        self.names = tuple(names)
        self.own_names = [each.rpartition(".")[2] for each in names]
        spans = [layout.slices[each] for each in names]
        self.index = torch.cat([torch.arange(span.start, span.stop) for span in spans])
        self.shapes = [layout.shapes[layout.names.index(each)] for each in names]

    @property
    def curvature_name(self):
        """The curvature of the layer, in an error's words."""
        return f"the curvature of the layer {self.name!r}"

    @property
    def is_kronecker(self):
        """True if a row's gradient is a sum of outer products of an input and a back-signal."""
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        return _calls_as(self.module, kinds) and "weight" in self.own_names

    @property
    def is_embedding(self):
        """True if the inputs of these outer products are one-hot, given as their positions."""
        return _calls_as(self.module, (nn.Embedding,)) and "weight" in self.own_names

    @property
    def has_bias(self):
        """True if the bias is attributed with the weight: a further input that is always 1."""
        return "bias" in self.own_names

    def factors(self, call, signal):
        """Inputs and back-signals of a call, (n, groups, positions, n_in) and (..., n_out).

        The gradient of row i in the weight (and bias) of a group is ``signals[i].T @ inputs[i]``.
        """
        if isinstance(self.module, nn.Linear):
            inputs = call.given.reshape(len(signal), 1, -1, call.given.shape[-1])
            signals = signal.reshape(len(signal), 1, -1, signal.shape[-1])
        else:
            inputs = _patches(self.module, call.given)
            signals = signal.flatten(2).unflatten(1, (self.module.groups, -1)).mT
        if self.has_bias:
            inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)
        return inputs, signals

    def unsupported(self, reason):
        """The layer as one that is not supported."""
        return Unsupported(self.name, self.names, reason)

    def own_tensors(self, named):
        """All parameters of the module by their own names, of all that `named` has."""
        prefix = f"{self.name}." if self.name else ""
        own = [name for name, _ in self.module.named_parameters(recurse=False)]
        return {name: named[prefix + name] for name in own if prefix + name in named}

    def row_gradients(self, params, given, signal):
        """Gradient of each row in the attributed parameters, (n, n_numbers), for any layer."""
        two = [0, -1]  # vmap fails with some modules only if there are several rows
        way = _WAYS.of(self, lambda way: way(self, params, given[two], signal[two]))
        return way(self, params, given, signal)


def rows_together(layer, params, given, signal):
    """Gradients of a layer's rows by vmap."""

    def of_one(row, back):
        def output(own):
            return functional_call(layer.module, own, row[None])

        (gradient,) = vjp(output, params)[1](back[None])
        return torch.cat([gradient[name].reshape(-1) for name in layer.own_names])

    return vmap(of_one)(given, signal)


def row_by_row(layer, params, given, signal):
    """The same for layers that vmap does not know."""
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    own, gradients = [leaves[name] for name in layer.own_names], []
    for row, back in zip(given.split(1), signal.split(1), strict=True):
        with torch.enable_grad():
            output = functional_call(layer.module, leaves, row)
        parts = torch.autograd.grad(output, own, back, allow_unused=True, materialize_grads=True)
        gradients.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(gradients)


_WAYS = FirstThatWorks("differentiated row by row", rows_together, row_by_row)


class LayerGradients:
    """The layers of a problem that have attributed parameters.

    Those in `unsupported` are left out. ``ownerless`` are attributed parameters that belong to no
    layer.
    """

    def __init__(self, problem, unsupported=()):
        self.problem = problem
        names = attributed_names(problem)
        self.ownerless = _ownerless(problem.module, names)
        left_out = {*names_of(unsupported), *names_of(self.ownerless)}
        names = [name for name in names if name not in left_out]
        self.layers = list(_layers(problem, names))

    def passes(self, point, rows):
        """One forward pass with its graph: logits, and the calls of each layer by name.

        A ValueError if a layer is not called as it has to be.
        """
        logits, calls = self.watched(point, rows)
        if unsupported := without_calls(self.layers, calls, len(rows)):
            raise refusal(self.problem, unsupported)
        return logits, calls

    def watched(self, point, rows):
        """The same without the check; None stands for a call without one tensor in and out."""
        problem = self.problem
        calls = {layer.name: [] for layer in self.layers}
        handles = [
            layer.module.register_forward_hook(
                _watch(calls[layer.name], len(rows) if layer.is_embedding else 1),
                with_kwargs=True,
            )
            for layer in self.layers
        ]
        try:
            with torch.enable_grad():
                leaf = point.detach().requires_grad_()
                logits = problem.logits(leaf, problem.buffers, problem.X[rows])
        finally:
            for handle in handles:
                handle.remove()
        return logits, calls

    def signals(self, logits, calls, column):
        """Back-signals of each call, of the sum over rows of <column, logits>, by layer."""
        flat = [call for seen in calls.values() for call in seen]
        found = iter(
            torch.autograd.grad(
                logits, [call.output for call in flat], column, retain_graph=True,
                allow_unused=True, materialize_grads=True,
            )
        )  # fmt: skip
        return {name: [next(found) for _ in seen] for name, seen in calls.items()}


def _calls_as(module, kinds):
    """True if the module's forward pass is that of one of torch's own classes, not a subclass's."""
    return any(isinstance(module, k) and type(module).forward is k.forward for k in kinds)


def _watch(calls, n_rows):
    """A hook that adds the calls of a layer; `n_rows` is 1 for layers of which none is repeated."""

    def hook(_module, args, kwargs, output):
        given = [*args, *kwargs.values()]
        if len(given) != 1 or not torch.is_tensor(given[0]) or not torch.is_tensor(output):
            calls.append(None)
            return None
        call = _for_each_row(given[0].detach(), output, n_rows)
        calls.append(call)
        return call.output.clone()  # what follows may change it in place

    return hook


def _for_each_row(given, output, n_rows):
    """A call; one of a single row for all, as positions are looked up, repeated for each row."""
    if given.ndim > 1 and len(given) == len(output) == 1:
        given, output = (each.expand(n_rows, *each.shape[1:]) for each in (given, output))
    return Call(given, output)


def _ownerless(module, names):
    """Parameters of modules that have parts, and those that several modules share."""
    n_owners, has_parts = Counter(), {}
    for prefix, part in module.named_modules():
        for own, parameter in part.named_parameters(recurse=False):
            n_owners[id(parameter)] += 1
            has_parts[f"{prefix}.{own}".lstrip(".")] = any(True for _ in part.children())
    named = dict(module.named_parameters())
    strange = [name for name in names if has_parts[name] or n_owners[id(named[name])] > 1]
    return [Unsupported(name, (name,), NO_LAYER) for name in strange]


def _layers(problem, names):
    """The layers that the parameters `names` belong to."""
    modules, by_prefix = dict(problem.module.named_modules()), {}
    for name in names:
        by_prefix.setdefault(name.rpartition(".")[0], []).append(name)
    for prefix, own in by_prefix.items():
        yield Layer(prefix, modules[prefix], own, problem.layout)


def _patches(conv, given):
    """Inputs that a convolution multiplies its weight with, (n, groups, positions, n_in)."""
    n_spatial = len(conv.kernel_size)
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = nn.functional.pad(given, conv._reversed_padding_repeated_twice, mode=mode)
    for axis in range(n_spatial):
        size, step, dilation = conv.kernel_size[axis], conv.stride[axis], conv.dilation[axis]
        reach = dilation * (size - 1) + 1
        padded = padded.unfold(2 + axis, reach, step)[..., ::dilation]
    # (n, channels, *positions, *kernel)
    n = len(given)
    windows = padded.unflatten(1, (conv.groups, -1)).flatten(3, 2 + n_spatial)
    return windows.movedim(3, 2).reshape(n, conv.groups, windows.shape[3], -1)
