"""A module in training seen as flat vectors, and states of training that are copied from it."""

import copy

import torch
from torch import nn

from sam_attribution.parameters import ParameterLayout
from sam_attribution.perturbation import as_perturbation
from sam_attribution.training._trajectory import State
from sam_attribution.training._wrappers import inner_module


class FlatModule:
    """Flat view of the trainable parameters, gradients and buffers of a module in training.

    It holds the tensors themselves, so that a step need not search the module for them. Make a
    new one when parameters may have been frozen or replaced. `others` are parameters that are
    trained beside those of the module, such as a criterion's: the optimizer updates them, SAM does
    not perturb them.
    """

    def __init__(self, module, others=()):
        module = inner_module(module)
        self.layout = ParameterLayout(module)
        self.parameters = self.layout.parameters_of(module)
        self.buffers = dict(module.named_buffers())
        self._trained = [*self.parameters, *others]
        self._bound = None, None  # a perturbation as given, and as it is for this module
        if not self.parameters:
            raise ValueError(
                f"module {type(module).__name__} has no parameter to train: all are frozen. Set "
                "requires_grad=True for some."
            )

    def bound(self, perturbation):
        """Perturbation of the vectors of this module, from a name or an object."""
        if (
            self._bound[0] is not perturbation
        ):  # once for all steps: patterns are matched with names
            self._bound = perturbation, as_perturbation(perturbation, self.layout)
        return self._bound[1]

    def vector(self):
        """Copy of the parameters, shape (n_params,)."""
        return self.layout.flatten([p.detach() for p in self.parameters])

    def copy_of_buffers(self):
        """Copy of all buffers, by name."""
        return {name: buffer.detach().clone() for name, buffer in self.buffers.items()}

    @torch.no_grad()
    def write(self, vector):
        """Copy a flat vector into the parameters."""
        values = self.layout.unflatten(vector).values()
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    @torch.no_grad()
    def write_buffers(self, buffers):
        """Copy values into the buffers."""
        for name, buffer in self.buffers.items():
            buffer.copy_(buffers[name])

    def take_gradients(self):
        """List of the gradients in ``.grad``, which is None afterwards."""
        gradients = [p.grad for p in self._trained]
        for p in self._trained:
            p.grad = None
        return gradients

    def add_gradients(self, gradients):
        """Add to ``.grad``, parameter by parameter; None adds nothing."""
        for p, gradient in zip(self._trained, gradients, strict=True):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad + gradient

    def scale_gradients(self, factor):
        """Multiply ``.grad`` by a number."""
        for p in self._trained:
            p.grad = None if p.grad is None else factor * p.grad

    def largest_gradient(self):
        """Largest absolute number in ``.grad``; infinite or NaN if one of them is."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        largest = [_dense(gradient).abs().max() for gradient in gradients]
        return torch.stack(largest).max() if largest else torch.zeros(())

    def check_gradients(self):
        """Raise a ValueError if no parameter has a gradient after a backward pass."""
        if all(p.grad is None for p in self.parameters):
            raise ValueError(
                "module gives an output that does not depend on its parameters: a forward that was "
                "set on the instance, as by torch.compile(module.forward), computes with those of "
                "another module. Use torch.compile(module), or define forward in the class."
            )

    def without_gradient(self):
        """Names of the parameters without a gradient, which the optimizer does not change."""
        pairs = zip(self.layout.names, self.parameters, strict=True)
        return tuple(name for name, p in pairs if p.grad is None)

    def gradient(self):
        """Gradients in ``.grad``, shape (n_params,); zero for parameters without one."""
        return self.layout.flatten(
            [torch.zeros_like(p) if p.grad is None else _dense(p.grad) for p in self.parameters]
        )


def _dense(gradient):
    """A gradient as a plain tensor: that of ``nn.Embedding(sparse=True)`` is a sparse one."""
    return gradient.to_dense() if gradient.is_sparse else gradient


def other_parameters(net):
    """Parameters that a net trains beside those of ``module``, by name."""
    own = {id(p) for p in net.module_.parameters()}
    named = net.get_all_learnable_params()
    return {name: p for name, p in named if id(p) not in own and p.requires_grad}


def moving_tensors(module, *, copy=False):
    """Parameters of a module and running statistics of its batch norms, as a list."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    statistics = [s for m in norms for s in (m.running_mean, m.running_var) if s is not None]
    found = [tensor.detach() for tensor in (*module.parameters(), *statistics)]
    return [tensor.clone() for tensor in found] if copy else found


def same_tensors(some, others):
    """True if two lists of tensors hold the same numbers; NaN equals NaN."""
    return len(some) == len(others) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
        for a, b in zip(some, others, strict=True)
    )


def take_state(net, flat, step, *, memory=True):
    """Copy of everything that training changes, as it is before step number `step`.

    Without the optimizer's state unless `memory` is wanted.
    """
    return State(
        step=step,
        params=flat.vector(),
        buffers=flat.copy_of_buffers(),
        optimizer=_copied(net.optimizer_.state_dict()) if memory else None,
    )


def bytes_of_state(flat, optimizer):
    """Bytes of a :class:`State`, with the vectors that the optimizer will hold after a step.

    The second number is without these; None for an optimizer whose steps cannot be differentiated
    without its memory.
    """
    size = sum(_bytes(tensor) for tensor in flat.parameters)
    weights = size + sum(_bytes(tensor) for tensor in flat.buffers.values())
    whole = weights + _vectors_of(optimizer) * size
    return whole, weights if _is_linear(optimizer) else None


def _is_linear(optimizer):
    """True for SGD whose momentum follows from the weights of two states."""
    if type(optimizer) is not torch.optim.SGD:
        return False
    return not any(group["nesterov"] for group in optimizer.param_groups)


def _vectors_of(optimizer):
    """Numbers that an optimizer remembers for each parameter: two if it is not known."""
    if isinstance(optimizer, torch.optim.SGD):
        return int(any(group["momentum"] for group in optimizer.param_groups))
    known = isinstance(optimizer, torch.optim.Optimizer)
    return 2 + (known and any(group.get("amsgrad", False) for group in optimizer.param_groups))


def _bytes(tensor):
    return tensor.numel() * tensor.element_size()


def put_state(net, flat, state):
    """Copy a state into the module and, if it has that, into the optimizer."""
    flat.write(state.params)
    flat.write_buffers(state.buffers)
    if state.is_whole:
        net.optimizer_.load_state_dict(_copied(state.optimizer))


def _copied(value):
    """A deep copy; of tensors and containers of Python the same as ``copy.deepcopy``, but faster.

    It is made at every step whose state is kept.
    """
    if type(value) is torch.Tensor:
        return value.detach().clone()
    if type(value) is dict:
        return {key: _copied(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return copy.deepcopy(value)
